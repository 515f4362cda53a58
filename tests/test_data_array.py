"""Arrays: files that lie, kinds of numbers, shapes, labels."""

import io
import json
import os
import pickle
import re
import struct
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from lowerbound.begin import open_data
from lowerbound.data import SOURCES, tensor
from lowerbound.errors import DataError, UsageError

array = SOURCES["array"]
WHOLE: dict[str, Any] = {"validation": 0, "test": 0}


def npy_bytes(x: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.save(stream, x)
    return stream.getvalue()


def npy_header(shape: str, dtype: str = "'|u1'") -> bytes:
    text = f"{{'descr': {dtype}, 'fortran_order': False, 'shape': {shape}, }}".encode()
    text += b" " * (-(len(text) + 11) % 64) + b"\n"
    return b"\x93NUMPY\x01\0" + struct.pack("<H", len(text)) + text


def zip_file(path: Path, compression: int = zipfile.ZIP_DEFLATED, **members: bytes) -> Path:
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, data in members.items():
            archive.writestr(f"{name}.npy", data)
    return path


# ---- files that lie


@pytest.mark.parametrize("shape", ["(68719476736,)", "(1024, 1024, 256, 256)", "(2**0, 3)", "(10**9,)"])
def test_a_header_alone_cannot_ask_for_memory(tmp_path: Path, shape: str) -> None:
    for name, data in [("x.npy", npy_header(shape)), ("x.npz", b"")]:
        path = tmp_path / name
        path.write_bytes(data) if data else zip_file(path, x=npy_header(shape))
        assert path.stat().st_size < 300
        with pytest.raises(DataError, match="is damaged: ") as caught:
            array(str(path))
        assert str(path) in str(caught.value)


def test_a_zip_that_lies_about_its_sizes(tmp_path: Path) -> None:
    """The directory claims as much as the header; what is stored could never unpack to it."""
    path = zip_file(tmp_path / "x.npz", x=npy_header("(68719476736, 1)"))
    data = bytearray(path.read_bytes())
    entry = data.index(b"PK\x01\x02")
    struct.pack_into("<I", data, entry + 24, 2**32 - 2)  # unpacked size
    struct.pack_into("<I", data, entry + 20, 2**31)  # packed size: more than the whole file has
    path.write_bytes(data)
    with pytest.raises(DataError, match=r"damaged|cannot be read"):
        array(str(path))


def test_objects_are_never_unpickled(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[Any, tuple[str]]:
            return os.mkdir, (str(tmp_path / "was-run"),)

    stream = io.BytesIO()
    np.save(stream, np.array([Evil()], dtype=object), allow_pickle=True)
    (tmp_path / "x.npy").write_bytes(stream.getvalue())
    zip_file(tmp_path / "x.npz", x=stream.getvalue())
    (tmp_path / "p.npy").write_bytes(pickle.dumps([1, 2]))
    for name, says in [("x.npy", "Python objects"), ("x.npz", "Python objects"), ("p.npy", "neither")]:
        with pytest.raises(DataError, match=says):
            array(str(tmp_path / name))
    assert not (tmp_path / "was-run").exists()


def test_an_object_array_beside_the_images_is_left_alone(tmp_path: Path) -> None:
    """As in the file of dSprites."""
    stream = io.BytesIO()
    np.save(stream, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    path = zip_file(tmp_path / "x.npz", images=npy_bytes(np.ones((3, 2, 2), np.uint8)), meta=stream.getvalue())
    source = array(str(path), **WHOLE)
    assert source.info["key"] == "images"
    assert (source.train.images() == 1).all()  # only 0 and 1: black and white


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "neither"),
        (b"\x93NUMPY", "damaged"),
        (b"\x93NUMPY\x01\0\xff\xff{", "damaged"),
        (b"\x93NUMPY\x09\0" + b"\0" * 50, r"format \(9, 0\)"),
        (b"\x93NUMPY\x03\0" + npy_header("(1, 1)")[8:], "named columns"),
        (npy_header("(-1, 5)") + b"x" * 50, "nothing in it"),
        (npy_header("(0, 5)"), "nothing in it"),
        (npy_header("(5, 0)"), "nothing in it"),
        (npy_header("(2, 2)", "__import__('os')") + b"x" * 50, "damaged"),
        (npy_header("(2, 2)", "'|S1'") + b"x" * 50, "numbers|truth values"),
        (npy_header("(2, 2)", "'<c8'") + b"x" * 50, "truth values"),
        (npy_header("(2, 2)", "'<M8[s]'") + b"x" * 50, "truth values"),
        (npy_header("(2, 2)", "[('a', '<f4')]") + b"x" * 50, "truth values"),
        (npy_bytes(np.ones((4, 4)))[:-1], "cut off"),
        (b"PK\x03\x04", "damaged"),
        (b"PK\x05\x06" + b"\0" * 18, "without arrays"),
    ],
)
def test_abuse(tmp_path: Path, data: bytes, says: str) -> None:
    path = tmp_path / "x.npy"
    path.write_bytes(data)
    with pytest.raises(DataError, match=says) as caught:
        array(str(path))
    assert "x.npy" in str(caught.value)


@given(cut=st.integers(0, 600), flip=st.integers(0, 600), bits=st.integers(0, 255))
@settings(max_examples=150, deadline=None)
def test_damaged_archives_never_raise_anything_else(cut: int, flip: int, bits: int) -> None:
    stream = io.BytesIO()
    np.savez_compressed(stream, x=np.arange(64, dtype=np.uint8).reshape(4, 4, 4), y=np.arange(4))
    data = bytearray(stream.getvalue())
    data[flip % len(data)] ^= bits
    path = Path(os.environ.get("TMPDIR", "/tmp")) / f"lowerbound-{os.getpid()}.npz"
    path.write_bytes(data[:cut] if cut < len(data) else data)
    try:
        assert len(array(str(path), **WHOLE).train) >= 1
    except (DataError, UsageError) as error:
        assert str(path) in str(error)  # noqa: PT017 (both outcomes are right)
    finally:
        path.unlink()


def test_odd_archives(tmp_path: Path) -> None:
    x = npy_bytes(np.ones((3, 2), np.float32))
    with zipfile.ZipFile(tmp_path / "twice.npz", "w") as archive:
        archive.writestr("x.npy", x)
        with pytest.warns(UserWarning, match="Duplicate"):
            archive.writestr("x.npy", x)
    with pytest.raises(DataError, match="'x' twice"):
        array(str(tmp_path / "twice.npz"))
    zip_file(tmp_path / "many.npz", zipfile.ZIP_STORED, **{f"x{i}": x for i in range(1001)})
    with pytest.raises(DataError, match="holds 1001 files"):
        array(str(tmp_path / "many.npz"))
    zip_file(tmp_path / "bz2.npz", zipfile.ZIP_BZIP2, x=x)
    assert len(array(str(tmp_path / "bz2.npz"), **WHOLE).train) == 3


def test_odd_paths(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.npy")
    with pytest.raises(DataError, match="not a regular file"):
        array(str(tmp_path / "pipe.npy"))
    with pytest.raises(DataError, match="does not exist"):
        array(str(tmp_path / "gone.npy"))


# ---- kinds of numbers


def roundtrip(tmp_path: Path, x: np.ndarray, **options: Any) -> Any:
    """The same array through .npy, .npz and memory gives the same data."""
    np.save(tmp_path / "x.npy", x)
    np.savez(tmp_path / "x.npz", x)
    sources = [array(str(tmp_path / "x.npy"), **WHOLE, **options)]
    sources += [array(str(tmp_path / "x.npz"), **WHOLE, **options), tensor(x, **WHOLE, **options)]
    for other in sources[1:]:
        assert torch.equal(other.train.images(), sources[0].train.images())
        assert other.unit == sources[0].unit
    assert json.loads(json.dumps(sources[0].info)) == sources[0].info
    return sources[0]


KINDS = ["u1", "i1", "<u2", ">u2", "<i4", ">i8", "<u8", "<f2", ">f2", "<f4", ">f4", "<f8", ">f8", "?"]


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_number(tmp_path: Path, kind: str, order: str) -> None:
    dtype = np.dtype(kind)
    values = np.arange(24).reshape(2, 3, 4)
    grey = values / 32 if dtype.kind == "f" else values % 2 if dtype.kind == "b" else values * 5
    source = roundtrip(tmp_path, np.asarray(grey, dtype, order=order))
    assert source.unit
    assert source.shape == (1, 3, 4)
    expected = grey if dtype.kind in "fb" else grey / 255
    assert np.allclose(source.train.images()[:, 0].numpy(), expected, rtol=1e-3)
    assert source.train.x.dtype == (torch.float32 if dtype.kind == "f" else torch.uint8)


@given(
    hnp.arrays(
        st.sampled_from([np.uint8, np.int64, np.float32, np.float64]),
        hnp.array_shapes(min_dims=2, max_dims=3, max_side=5),
        elements=st.integers(0, 100),
    )
)
@settings(max_examples=50, deadline=None)
def test_values_with_a_scale_are_the_numbers_over_the_scale(x: np.ndarray) -> None:
    got = tensor(x, scale=100, **WHOLE)
    assert got.unit
    assert np.allclose(got.train.images().numpy().ravel(), x.ravel() / 100)


@pytest.mark.parametrize(
    ("values", "says"),
    [
        (np.array([[-1, 3]]), "from -1 to 3 are not grey"),
        (np.array([[0, 256]]), "from 0 to 256 are not grey"),
        (np.array([[0.0, 1.5]]), "scale=255"),
        (np.array([[-0.5, 0.5]]), "real line"),
    ],
)
def test_numbers_off_the_unit_interval_are_said_to_be(values: np.ndarray, says: str) -> None:
    source = tensor(values, **WHOLE)
    assert not source.unit
    assert says in " ".join(source.info["notes"])
    assert np.allclose(source.train.images().numpy(), values)


def test_bytes_in_rows_and_bits() -> None:
    rows = np.array([[0, 51], [255, 102]], np.uint8)
    grey = tensor(rows, **WHOLE)
    assert torch.allclose(grey.train.images(), torch.tensor([[0, 0.2], [1, 0.4]]))
    assert "scale=1 keeps them" in grey.info["notes"][0]
    assert tensor(rows, scale=1, **WHOLE).train.images().tolist() == rows.tolist()
    bits = tensor(np.eye(3, dtype=np.int64), **WHOLE)
    assert bits.train.images().tolist() == np.eye(3).tolist()
    assert "black and white" in bits.info["notes"][0]


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_not_a_number_is_counted(tmp_path: Path, bad: float) -> None:
    x = np.zeros((3000, 40, 40), np.float32)  # more than one chunk
    x[2777, 3, 4] = x[2777, 3, 5] = x[2999, 0, 0] = bad
    np.save(tmp_path / "x.npy", x)
    with pytest.raises(DataError, match=r"x\.npy holds 3 values that are not numbers.*first in row 2777"):
        array(str(tmp_path / "x.npy"))
    with pytest.raises(DataError, match="holds 1 values"):
        tensor(np.array([[1e300, 0.0]]))


def test_torch_kinds() -> None:
    x = torch.rand(4, 1, 2, 2)
    assert torch.equal(tensor(x.bfloat16(), **WHOLE).train.x, x.bfloat16().float())
    assert torch.equal(tensor(x.requires_grad_(), **WHOLE).train.x, x.detach())
    assert torch.equal(tensor(x.detach().numpy()[::-1], **WHOLE).train.x, x.detach().flip(0))
    frozen = x.detach().numpy().copy()
    frozen.flags.writeable = False
    assert torch.equal(tensor(frozen, **WHOLE).train.x, x.detach())


def test_a_npy_file_is_mapped_and_never_changed(tmp_path: Path) -> None:
    path = tmp_path / "x.npy"
    np.save(path, np.random.default_rng(0).integers(256, size=(50, 4, 4), dtype=np.uint8))
    before = path.read_bytes()
    source = array(str(path), binarise="dynamic")
    assert set(source.test.images().unique().tolist()) == {0.0, 1.0}  # written to, in memory only
    assert path.read_bytes() == before
    grey = array(str(path)).train
    if (maps := Path("/proc/self/maps")).exists():  # Linux says so itself
        assert str(path) in maps.read_text()
    assert len(grey) == 40


# ---- shapes


@pytest.mark.parametrize(
    ("shape", "expected", "note"),
    [
        ((5, 7), (7,), ""),
        ((5, 6, 7), (1, 6, 7), ""),
        ((5, 3, 6, 7), (3, 6, 7), ""),
        ((5, 6, 7, 3), (3, 6, 7), "taken as (N, H, W, C)."),
        ((5, 6, 7, 1), (1, 6, 7), "taken as (N, H, W, C)."),
        ((5, 4, 6, 3), (4, 6, 3), "though (N, H, W, C) would fit too"),
    ],
)
def test_shapes(shape: tuple[int, ...], expected: tuple[int, ...], note: str) -> None:
    x = np.random.default_rng(0).random(shape, np.float32)
    source = tensor(x, **WHOLE)
    assert source.shape == expected
    assert note in " ".join(source.info["notes"])
    if note.endswith("(N, H, W, C)."):
        x = x.transpose(0, 3, 1, 2)
    assert np.array_equal(source.train.images().numpy().reshape(x.shape), x)
    assert source.train.images().is_contiguous()


@pytest.mark.parametrize("shape", [(), (5,), (5, 6, 7, 8), (5, 1, 2, 3, 4), (0, 3), (3, 0), (2, 3, 0, 1)])
def test_shapes_without_meaning(tmp_path: Path, shape: tuple[int, ...]) -> None:
    with pytest.raises(DataError, match="tensor "):
        tensor(np.zeros(shape))
    np.save(tmp_path / "x.npy", np.zeros(shape))
    with pytest.raises(DataError, match=r"x\.npy "):
        array(str(tmp_path / "x.npy"))


# ---- keys and labels


def test_the_obvious_array_or_a_key(tmp_path: Path) -> None:
    path = str(tmp_path / "x.npz")
    x, other = np.zeros((4, 2, 2), np.uint8), np.full((4, 3), 7.0)
    np.savez(path, images=x, extra=other)
    assert array(path, **WHOLE).info["key"] == "images"
    assert array(path, key="extra", **WHOLE).shape == (3,)
    with pytest.raises(UsageError, match="did you mean 'extra'"):
        array(path, key="extar")
    np.savez(path, a=x, b=other)
    with pytest.raises(UsageError, match=r"(?s)holds 2 arrays.*a: 4 x 2 x 2 of uint8\n  b: 4 x 3 of float64"):
        array(path)
    np.savez(path, images=x, x=x)
    with pytest.raises(UsageError, match="say which one"):
        array(path)
    np.savez(path, anything=x, y=np.arange(4))
    assert array(path, **WHOLE).info["key"] == "anything"


def test_labels(tmp_path: Path) -> None:
    path, beside = str(tmp_path / "x.npz"), str(tmp_path / "beside.npy")
    x = np.zeros((4, 2, 2), np.uint8)
    np.savez(path, x=x, y=np.array([3, 1, 2, 0], np.uint8), z=np.arange(4)[:, None], short=np.arange(3))
    np.save(beside, np.array([9, 8, 7, 6], ">i2"))
    found = array(path, **WHOLE)
    assert found.train.targets().tolist() == [3, 1, 2, 0]
    assert "Labels are taken from the array 'y'." in found.info["notes"]
    assert array(path, labels="z", **WHOLE).train.targets().tolist() == [0, 1, 2, 3]
    assert array(path, labels=beside, **WHOLE).train.targets().tolist() == [9, 8, 7, 6]
    with pytest.raises(DataError, match="short are 3 of int64; 4 whole numbers"):
        array(path, labels="short")
    with pytest.raises(UsageError, match="neither an array in"):
        array(path, labels="shrot")
    with pytest.raises(DataError, match="labels are 4 of float"):
        tensor(x, labels=np.zeros(4))
    np.savez(path, x=x, y=np.zeros(4))  # not labels: a regression's target
    assert array(path, **WHOLE).train.labels is None


def test_the_file_is_known_by_its_hash(tmp_path: Path) -> None:
    import hashlib

    path = tmp_path / "x.npy"
    np.save(path, np.zeros((4, 2)))
    entry = array(str(path), **WHOLE).info["files"][0]
    assert entry["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert entry["name"] == "x.npy"


def test_which_of_two_arrays_is_asked_for_in_words_that_can_be_given(tmp_path: Path) -> None:
    path = tmp_path / "two.npz"
    np.savez(path, a=np.zeros((10, 4, 4)), b=np.ones((10, 4, 4)))
    with pytest.raises(UsageError, match=r"such as --set data\.key=a ") as caught:
        open_data(path)
    _, source = open_data(path, re.findall(r"--set (\S+)", str(caught.value)))
    assert source.info["key"] == "a"
