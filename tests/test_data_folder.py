"""A folder of images: every format and depth, what cannot be read, sizes, labels."""

import json
import os
import socket
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from lowerbound.data import SOURCES
from lowerbound.data.images import read
from lowerbound.errors import DataError, UsageError

folder = SOURCES["folder"]
WHOLE = {"validation": 0, "test": 0}


def noise(width: int = 6, height: int = 4, channels: int = 3, seed: int = 0) -> np.ndarray:
    shape = (height, width, channels)[: 2 if channels == 1 else 3]
    return np.random.default_rng(seed).integers(256, size=shape, dtype=np.uint8)


def fill(path: Path, n: int = 10, **options: int) -> list[np.ndarray]:
    path.mkdir(parents=True, exist_ok=True)
    arrays = [noise(seed=i, **options) for i in range(n)]
    for i, array in enumerate(arrays):
        Image.fromarray(array).save(path / f"{i:03}.png")
    return arrays


def one(path: Path, **options: object) -> torch.Tensor:
    """The only image of a folder, as it is stored."""
    return folder(str(path), **WHOLE, **options).train.x[0]


def test_pixels_arrive_exactly_and_in_order(tmp_path: Path) -> None:
    arrays = fill(tmp_path / "photos", 20)
    source = folder(str(tmp_path / "photos"))
    assert source.shape == (3, 4, 6)
    assert source.unit
    assert source.name == "photos"
    assert (len(source.train), len(source.validation), len(source.test)) == (16, 2, 2)
    assert torch.equal(source.train.x, torch.from_numpy(np.stack(arrays)).permute(0, 3, 1, 2))
    assert source.train.labels is None
    assert source.info["names"] == [f"{i:03}.png" for i in range(20)]
    assert source.info["sizes"] == {"6x4": 20}
    assert source.info["images"] == 20
    assert json.loads(json.dumps(source.info)) == source.info


def test_the_hash_is_of_names_and_contents(tmp_path: Path) -> None:
    fill(tmp_path / "a")
    fill(tmp_path / "b")
    first, second = (folder(str(tmp_path / name)).info["sha256"] for name in "ab")
    assert first == second
    (tmp_path / "b" / "003.png").rename(tmp_path / "b" / "0031.png")
    assert folder(str(tmp_path / "b")).info["sha256"] != first
    Image.fromarray(noise(seed=99)).save(tmp_path / "a" / "005.png")
    assert folder(str(tmp_path / "a")).info["sha256"] != first


def png(width: int, height: int) -> bytes:
    """A small file that claims any size."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">2I5B", width, height, 8, 0, 0, 0, 0))
    body = chunk(b"IDAT", zlib.compress(bytes(1000)))
    return b"\x89PNG\r\n\x1a\n" + header + body + chunk(b"IEND", b"")


def test_what_cannot_be_read_is_named_with_its_reason(tmp_path: Path) -> None:
    fill(tmp_path, 10)
    whole = (tmp_path / "000.png").read_bytes()
    Image.fromarray(noise(40, 40)).save(tmp_path / "cut.jpg")
    cut = (tmp_path / "cut.jpg").read_bytes()
    bad = {
        "bomb.png": (png(50_000, 50_000), "more than 64 million"),
        "bomb2.png": (png(9000, 9000), "more than 64 million"),
        "cut.jpg": (cut[: len(cut) // 2], "truncated"),
        "cut.png": (whole[:-30], ""),
        "empty.png": (b"", "an empty file"),
        "postscript.png": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not an image"),
        "text.jpeg": (b"<img onerror=alert(1)>", "not an image"),
    }
    for name, (data, _) in bad.items():
        (tmp_path / name).write_bytes(data)
    (tmp_path / "notes.txt").write_text("hello")
    (tmp_path / ".DS_Store").touch()
    (tmp_path / "README").touch()
    source = folder(str(tmp_path))
    assert source.info["images"] == 10
    told = dict(line.split(" (", 1) for line in source.info["unreadable"])
    assert list(told) == sorted(bad)
    for name, (_, reason) in bad.items():
        assert reason in told[name]
    assert "7 files could not be read: bomb.png" in source.info["notes"][0]
    assert source.info["skipped"] == {
        ".txt": {"count": 1, "names": ["notes.txt"]},
        "hidden": {"count": 1, "names": [".DS_Store"]},
        "no suffix": {"count": 1, "names": ["README"]},
    }


def test_every_flipped_or_missing_byte_is_survived(tmp_path: Path) -> None:
    """Never an exception: an image or a reason, for each format that is read."""
    image = Image.fromarray(noise(9, 7))
    outcomes = {True: 0, False: 0}
    for kind in ("png", "jpg", "bmp", "gif", "tiff", "webp", "ppm"):
        path = tmp_path / f"x.{kind}"
        image.save(path)
        whole = path.read_bytes()
        assert read(path, "x", None, "auto").pixels is not None
        step = max(1, len(whole) // 30)
        for i in range(0, len(whole), step):
            for data in (whole[:i], whole[:i] + bytes([whole[i] ^ 0xFF]) + whole[i + 1 :]):
                path.write_bytes(data)
                got = read(path, "x", None, "auto")
                assert (got.pixels is None) == bool(got.reason)
                outcomes[got.pixels is None] += 1
    assert min(outcomes.values()) > 30


def test_odd_files_do_not_hang(tmp_path: Path) -> None:
    fill(tmp_path / "a", 5)
    os.mkfifo(tmp_path / "a" / "pipe.png")
    (tmp_path / "a" / "null.png").symlink_to("/dev/zero")
    (tmp_path / "a" / "gone.png").symlink_to(tmp_path / "nowhere")
    (tmp_path / "a" / "self.png").symlink_to(tmp_path / "a" / "self.png")
    (tmp_path / "a" / "loop").symlink_to(tmp_path / "a")
    (tmp_path / "a" / "deep").mkdir()
    (tmp_path / "a" / "deep" / "up").symlink_to(tmp_path)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "a" / "sock.png"))
        source = folder(str(tmp_path / "a"), **WHOLE)
    assert source.info["images"] == 5, "through a loop, images were counted twice"
    told = dict(line.split(" (", 1) for line in source.info["unreadable"])
    assert sorted(told) == ["gone.png", "null.png", "pipe.png", "self.png", "sock.png"]
    for name in ("null.png", "pipe.png", "sock.png"):
        assert told[name] == "not a regular file)"
    assert "No such file" in told["gone.png"]
    assert "symbolic links" in told["self.png"]


def test_names_that_hurt(tmp_path: Path) -> None:
    fill(tmp_path, 3)
    for name in (b"new\nline.png", b"\xff\xfe.png", b"\x1b[31m.png", "größe 日.png".encode()):
        Path(os.fsdecode(bytes(tmp_path) + b"/" + name)).write_bytes(b"broken")
    told = folder(str(tmp_path), **WHOLE).info["unreadable"]
    assert [line.split(" (not")[0] for line in told] == sorted(
        ["\\x1b[31m.png", "größe 日.png", "new\\nline.png", "\\udcff\\udcfe.png"]
    )
    "\n".join(told).encode()


def test_different_sizes_are_listed_and_one_is_proposed(tmp_path: Path) -> None:
    fill(tmp_path / "a", 3, width=200, height=150)
    fill(tmp_path / "b", 2, width=20, height=30)
    fill(tmp_path / "c", 1, width=7, height=7)
    with pytest.raises(DataError) as caught:
        folder(str(tmp_path))
    text = str(caught.value)
    for part in ("The 6 images have 3 different sizes", "200x150: 3, e.g. a/000.png", "20x30: 2"):
        assert part in text
    assert text.endswith("--size 64x48")
    source = folder(str(tmp_path), size=[64, 48], **WHOLE)
    assert source.shape == (3, 48, 64)
    assert source.info["images"] == 6


def test_size_is_a_centre_crop_and_keeps_the_aspect(tmp_path: Path) -> None:
    wide = np.zeros((40, 100), np.uint8)
    wide[:, 30:70] = 200  # the middle square
    Image.fromarray(wide).save(tmp_path / "wide.png")
    assert (one(tmp_path, size=[10, 10]) == 200).all()
    squeezed = one(tmp_path, size=[50, 20])[0]  # the whole, at half the size
    assert (squeezed[:, 18:32] == 200).all()
    assert (squeezed[:, :12] == 0).all()


def test_resizing_is_antialiased(tmp_path: Path) -> None:
    """Stripes finer than the new pixels become grey, not stripes."""
    stripes = np.tile(np.array([0, 255], np.uint8), (64, 32))
    Image.fromarray(stripes).save(tmp_path / "stripes.png")
    small = one(tmp_path, size=[8, 8])[0, :, 1:-1].int()  # a border has neighbours on one side only
    assert (small - 127).abs().max() <= 4


@pytest.mark.parametrize("shape", [(1, 5000), (5000, 1), (1, 1)])
def test_extreme_shapes_can_be_resized(tmp_path: Path, shape: tuple[int, int]) -> None:
    Image.fromarray(np.full(shape, 77, np.uint8)).save(tmp_path / "x.png")
    assert (one(tmp_path, size=[6, 4]) == 77).all()


def test_size_must_be_two_numbers(tmp_path: Path) -> None:
    fill(tmp_path, 3)
    for size in ([64], [0, 4], [1, 2, 3]):
        with pytest.raises(UsageError, match=r"give \[width, height\]"):
            folder(str(tmp_path), size=size)


def test_grey_or_colour(tmp_path: Path) -> None:
    grey = fill(tmp_path / "grey", 4, channels=1)
    assert folder(str(tmp_path / "grey"), **WHOLE).shape == (1, 4, 6)
    assert folder(str(tmp_path / "grey"), colour="colour", **WHOLE).shape == (3, 4, 6)
    as_rgb = Image.fromarray(np.repeat(noise(channels=1)[..., None], 3, 2))
    as_rgb.save(tmp_path / "grey" / "rgb.png")  # grey that is stored as colour
    source = folder(str(tmp_path / "grey"), **WHOLE)
    assert source.shape == (1, 4, 6)
    assert torch.equal(source.train.x[:4, 0], torch.from_numpy(np.stack(grey)))
    fill(tmp_path / "grey" / "sub", 1)
    mixed = folder(str(tmp_path / "grey"), **WHOLE)
    assert mixed.shape == (3, 4, 6)
    assert torch.equal(mixed.train.x[0, 2], torch.from_numpy(grey[0]))
    assert folder(str(tmp_path / "grey"), colour="grey", **WHOLE).shape == (1, 4, 6)


def save_palette(path: Path) -> None:
    Image.fromarray(np.array([[[255, 0, 0], [0, 0, 255]]], np.uint8)).quantize(4).save(path)


def save_transparent_palette(path: Path) -> None:
    image = Image.new("P", (2, 1))
    image.putpalette([255, 0, 0, 0, 0, 255])
    image.putpixel((1, 0), 1)
    image.save(path, transparency=1)


def save_16(path: Path) -> None:
    Image.fromarray(np.array([[0, 32896, 65535, 257 * 7]], np.uint16)).save(path)


def save_bits(path: Path) -> None:
    Image.fromarray(np.array([[True, False]])).save(path)


def save_rgba(path: Path) -> None:
    rgba = np.array([[[9, 8, 7, 255], [0, 0, 0, 0], [255, 0, 0, 128]]], np.uint8)
    Image.fromarray(rgba).save(path)


def save_la(path: Path) -> None:
    Image.fromarray(np.array([[[9, 255], [0, 0]]], np.uint8), mode="LA").save(path)


def save_float(path: Path) -> None:
    Image.fromarray(np.array([[0.0, 0.5, 1.0]], np.float32)).save(path)


def save_cmyk(path: Path) -> None:
    Image.new("CMYK", (2, 1), (0, 255, 255, 0)).save(path)


@pytest.mark.parametrize(
    ("save", "suffix", "expected", "note"),
    [
        (save_palette, "png", [[[255, 0]], [[0, 0]], [[0, 255]]], None),
        (save_palette, "gif", [[[255, 0]], [[0, 0]], [[0, 255]]], None),
        (save_transparent_palette, "png", [[[255, 255]], [[0, 255]], [[0, 255]]], "laid on white"),
        (save_16, "png", [[[0, 128, 255, 7]]], "more than 8 bits"),
        (save_16, "tiff", [[[0, 128, 255, 7]]], "more than 8 bits"),
        (save_bits, "png", [[[255, 0]]], None),
        (save_rgba, "png", [[[9, 255, 255]], [[8, 255, 127]], [[7, 255, 127]]], "laid on white"),
        (save_la, "png", [[[9, 255]]], "laid on white"),
        (save_float, "tiff", [[[0, 128, 255]]], "more than 8 bits"),
        (save_cmyk, "tiff", [[[255, 255]], [[0, 0]], [[0, 0]]], None),
    ],
)
def test_depths_palettes_and_transparency(
    tmp_path: Path, save: Callable[[Path], None], suffix: str, expected: list, note: str | None
) -> None:
    save(tmp_path / f"x.{suffix}")
    source = folder(str(tmp_path), **WHOLE)
    assert source.train.x[0].tolist() == expected
    assert [note in line for line in source.info["notes"]] == ([True] if note else [])


def test_greys_of_unknown_range_are_not_guessed(tmp_path: Path) -> None:
    fill(tmp_path, 2)
    Image.fromarray(np.array([[-1, 70_000]], np.int32)).save(tmp_path / "deep.tiff")
    Image.fromarray(np.array([[0.0, np.nan]], np.float32)).save(tmp_path / "nan.tiff")
    told = folder(str(tmp_path), **WHOLE).info["unreadable"]
    assert "from -1 to 70000" in told[0]
    assert told[1].startswith("nan.tiff (grey values from nan")


def test_exif_orientation_is_applied(tmp_path: Path) -> None:
    image = Image.fromarray(np.repeat(np.arange(0, 240, 40, np.uint8)[None], 4, 0))
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees clockwise
    image.save(tmp_path / "x.png", exif=exif)
    x = one(tmp_path)
    assert x.shape == (1, 6, 4)
    assert x[0, :, 0].tolist() == list(range(0, 240, 40))


def test_animations_give_their_first_frame(tmp_path: Path) -> None:
    frames = [Image.fromarray(np.full((4, 4), v, np.uint8)) for v in (10, 200, 90)]
    for name in ("x.gif", "x.webp", "x.png", "x.tiff"):
        options = {"lossless": True} if name == "x.webp" else {}
        frames[0].save(tmp_path / name, save_all=True, append_images=frames[1:], **options)
    x = folder(str(tmp_path), **WHOLE).train.x
    assert len(x) == 4
    assert (x == 10).all()


def test_folders_become_labels_if_every_image_is_in_one(tmp_path: Path) -> None:
    fill(tmp_path / "dog" / "inner", 3)
    fill(tmp_path / "cat", 2)
    source = folder(str(tmp_path), **WHOLE)
    assert source.info["classes"] == ["cat", "dog"]
    assert source.train.targets().tolist() == [0, 0, 1, 1, 1]
    Image.fromarray(noise()).save(tmp_path / "stray.png")
    source = folder(str(tmp_path), **WHOLE)
    assert source.train.labels is None
    assert "classes" not in source.info


def test_nothing_to_read(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="does not exist"):
        folder(str(tmp_path / "nowhere"))
    with pytest.raises(DataError, match="it is empty"):
        folder(str(tmp_path))
    (tmp_path / "notes.txt").touch()
    with pytest.raises(DataError, match=r"other files: 1 \.txt"):
        folder(str(tmp_path))
    (tmp_path / "x.png").write_bytes(b"no")
    with pytest.raises(DataError, match=r"None of the 1 images.*\n  x.png \(not an image"):
        folder(str(tmp_path))
    with pytest.raises(DataError, match="is not a folder"):
        folder(str(tmp_path / "x.png"))


def test_too_few_images(tmp_path: Path) -> None:
    fill(tmp_path, 2)
    with pytest.raises(DataError, match="Of 2 images, 1 for validation and 1 for the test"):
        folder(str(tmp_path))


def test_binarised_folder(tmp_path: Path) -> None:
    fill(tmp_path, 10)
    source = folder(str(tmp_path), binarise="dynamic")
    assert set(source.batch(0, 8, seed=0)[0].unique().tolist()) == {0.0, 1.0}
    assert set(source.test.images().unique().tolist()) == {0.0, 1.0}
