"""A checkpoint is whole or not there: every flipped byte, every cut, every interrupted call and a disk that is full."""

import errno
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from lowerbound import checkpoint, files
from lowerbound.errors import StorageError

STATE = {"step": 3, "best": 0.25, "sums": {"elbo": -1.5}}
Parts = dict[str, dict[str, Tensor]]


def parts(value: float = 1.0) -> Parts:
    return {"weights": {"a": torch.full((2,), value), "b": torch.tensor(7)}, "objective": {}}


def saved(folder: Path, step: int, value: float = 1.0) -> Path:
    return checkpoint.save(folder, step, parts(value), {**STATE, "step": step}, set())


def same(found: tuple[Parts, dict[str, Any]], tensors: Parts, state: dict[str, Any]) -> bool:
    def equal(a: Tensor, b: Tensor) -> bool:
        return a.dtype == b.dtype and a.shape == b.shape and torch.equal(a, b)

    return (
        found[1] == state
        and found[0].keys() == tensors.keys()
        and all(found[0][part].keys() == tensors[part].keys() for part in tensors)
        and all(equal(found[0][part][name], value) for part in tensors for name, value in tensors[part].items())
    )


# ---- what is saved comes back


def test_tensors_of_every_kind_come_back_as_they_were(tmp_path: Path) -> None:
    grid = torch.arange(24.0).reshape(1, 2, 3, 4)
    tied = torch.arange(6.0)
    tensors = {
        "weights": {
            "scalar": torch.tensor(2.5),
            "transposed": grid[0, 0].T,
            "channels_last": grid.to(memory_format=torch.channels_last),
            "float64": torch.tensor([1 / 3, float("inf"), -0.0], dtype=torch.float64),
            "bfloat16": torch.tensor([1.5, -2.0], dtype=torch.bfloat16),
            "empty": torch.empty(0, 3),
            "count": torch.tensor([2**62], dtype=torch.int64),
            "mask": torch.tensor([True, False]),
            "parameter": torch.nn.Parameter(torch.ones(2)),
            "tied": tied,
            "tied too": tied,
            "a part of it": tied[2:4],
        },
        "nothing": {},
    }
    path = checkpoint.save(tmp_path, 3, tensors, STATE, set())
    found = checkpoint.load(path)
    assert same(found, tensors, STATE)
    assert str(found[0]["weights"]["float64"][2]) == str(torch.tensor(-0.0, dtype=torch.float64))
    assert path.name == "000000003"


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_an_optimiser_goes_on_exactly(tmp_path: Path, layout: torch.memory_format) -> None:
    def network() -> tuple[torch.nn.Module, torch.optim.Optimizer]:
        torch.manual_seed(0)
        net = torch.nn.Conv2d(2, 3, 3).to(memory_format=layout)
        return net, torch.optim.Adam(net.parameters(), lr=0.1, fused=True)

    def move(net: torch.nn.Module, optimizer: torch.optim.Optimizer, seed: int) -> None:
        optimizer.zero_grad()
        net(torch.randn(2, 2, 5, 5, generator=torch.Generator().manual_seed(seed))).square().sum().backward()
        optimizer.step()

    net, optimizer = network()
    move(net, optimizer, 0)
    tensors = {"weights": net.state_dict(), "optimizer": checkpoint.optimizer_tensors(optimizer)}
    path = checkpoint.save(tmp_path, 1, tensors, STATE, set())
    again, other = network()
    loaded, _ = checkpoint.load(path)
    again.load_state_dict(loaded["weights"])
    checkpoint.restore_optimizer(other, loaded["optimizer"])
    for seed in (1, 2):
        move(net, optimizer, seed)
        move(again, other, seed)
    assert all(torch.equal(a, b) for a, b in zip(net.parameters(), again.parameters(), strict=True))


def test_saving_a_step_again_changes_nothing_that_is_whole(tmp_path: Path) -> None:
    path = saved(tmp_path, 3)
    before = {p.name: (p.stat().st_ino, p.read_bytes()) for p in path.iterdir()}
    saved(tmp_path, 3)
    assert {p.name: (p.stat().st_ino, p.read_bytes()) for p in path.iterdir()} == before


def test_saving_a_step_again_replaces_a_damaged_one_and_keeps_it_aside(tmp_path: Path) -> None:
    path = saved(tmp_path, 3)
    (path / "weights.safetensors").write_bytes(b"")
    saved(tmp_path, 3)
    assert same(checkpoint.load(path), parts(), STATE)
    (aside,) = tmp_path.glob("*.aside-*")
    assert (aside / "weights.safetensors").read_bytes() == b""
    assert checkpoint.listed(tmp_path) == [path]


def test_the_newest_two_and_the_kept_stay(tmp_path: Path) -> None:
    for step in (1, 2, 3, 10, 20):
        checkpoint.save(tmp_path, step, parts(), STATE, {2})
    assert [int(path.name) for path in checkpoint.listed(tmp_path)] == [20, 10, 2]
    assert all(checkpoint.problem(path) is None for path in checkpoint.listed(tmp_path))
    (tmp_path / ".tmp-000000021-0a").mkdir()
    checkpoint.prune(tmp_path, [])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["000000010", "000000020"]


def test_steps_are_ordered_as_numbers(tmp_path: Path) -> None:
    for name in ("000000009", "1000000000", "000000100", "12.aside-ab", ".tmp-000000999-aa", "notes"):
        (tmp_path / name).mkdir()
    assert [int(path.name) for path in checkpoint.listed(tmp_path)] == [10**9, 100, 9]


# ---- damage


def changes(data: bytes) -> Iterator[bytes]:
    """Every byte changed alone: each of its bits, and to characters that mean something in JSON."""
    for i, old in enumerate(data):
        for new in {old ^ 1 << bit for bit in range(8)} | {0, 255, *b'"\\/.}{,:0 e'} - {old}:
            yield data[:i] + bytes([new]) + data[i + 1 :]


@pytest.mark.parametrize("name", ["weights.safetensors", "objective.safetensors", "state.json", "manifest.json"])
def test_a_changed_byte_is_noticed_or_changes_nothing(tmp_path: Path, name: str) -> None:
    path = saved(tmp_path, 3)
    data = (path / name).read_bytes()
    unnoticed = 0
    for changed in changes(data):
        (path / name).write_bytes(changed)
        if checkpoint.problem(path) is None:
            unnoticed += 1
            assert same(checkpoint.load(path), parts(), STATE), changed
    # only the manifest has bytes without a meaning for what is loaded: spaces, the sizes, torch's version
    assert unnoticed == 0 if name != checkpoint.MANIFEST else unnoticed < len(data) * 12


@pytest.mark.parametrize("name", ["weights.safetensors", "objective.safetensors", "state.json", "manifest.json"])
def test_every_cut_is_noticed(tmp_path: Path, name: str) -> None:
    path = saved(tmp_path, 3)
    data = (path / name).read_bytes()
    for length in range(len(data)):
        (path / name).write_bytes(data[:length])
        assert checkpoint.problem(path), length
    with pytest.raises(StorageError, match="damaged"):
        checkpoint.load(path)


@pytest.mark.parametrize("name", ["weights.safetensors", "objective.safetensors", "state.json", "manifest.json"])
def test_a_missing_file_is_named(tmp_path: Path, name: str) -> None:
    path = saved(tmp_path, 3)
    (path / name).unlink()
    assert checkpoint.problem(path) == f"{name} is missing"


def test_files_of_another_checkpoint_are_noticed(tmp_path: Path) -> None:
    one, other = saved(tmp_path, 3), saved(tmp_path, 4, value=2.0)
    for name in ("weights.safetensors", "state.json", "manifest.json"):
        mine = (one / name).read_bytes()
        shutil.copy(other / name, one / name)
        assert checkpoint.problem(one), name
        (one / name).write_bytes(mine)
    assert checkpoint.problem(one) is None


def test_a_checkpoint_under_the_name_of_another_step_is_noticed(tmp_path: Path) -> None:
    os.rename(saved(tmp_path, 3), tmp_path / "000000005")
    assert "step 3" in str(checkpoint.problem(tmp_path / "000000005"))


def test_a_file_that_the_manifest_does_not_name_is_not_loaded(tmp_path: Path) -> None:
    path = saved(tmp_path, 3)
    (path / "ema.safetensors").write_bytes(checkpoint.pack({"a": torch.ones(1)}))
    assert same(checkpoint.load(path), parts(), STATE)


def edited(path: Path, change: Callable[[dict[str, Any]], object]) -> str:
    manifest = json.loads((path / checkpoint.MANIFEST).read_bytes())
    change(manifest)
    (path / checkpoint.MANIFEST).write_text(json.dumps(manifest))
    return str(checkpoint.problem(path))


@pytest.mark.parametrize("name", ["../secret", "/etc/hostname", "a/b", "..", "."])
def test_a_manifest_that_names_other_places_is_refused(tmp_path: Path, name: str) -> None:
    path = saved(tmp_path, 3)
    digest = files.digest(b"secret")
    (tmp_path / "secret").write_bytes(b"secret")
    assert "outside" in edited(path, lambda m: m["files"].update({name: {"bytes": 6, "sha256": digest}}))


def test_another_format_is_refused_by_its_number(tmp_path: Path) -> None:
    assert edited(saved(tmp_path, 3), lambda m: m.update(format=2)) == "its format is 2, and this version reads 1"


@pytest.mark.parametrize("text", ["", "[]", "null", "3", '{"format": 1}', '{"format": 1, "step": 3, "files": []}'])
def test_a_manifest_of_another_shape_is_damaged(tmp_path: Path, text: str) -> None:
    path = saved(tmp_path, 3)
    (path / checkpoint.MANIFEST).write_text(text)
    assert "damaged" in str(checkpoint.problem(path))


def test_a_manifest_that_names_no_state_is_damaged(tmp_path: Path) -> None:
    assert "damaged" in edited(saved(tmp_path, 3), lambda m: m["files"].clear())


def test_what_cannot_be_read_is_said(tmp_path: Path) -> None:
    path = saved(tmp_path, 3)
    (path / "state.json").unlink()
    (path / "state.json").mkdir()
    assert "state.json cannot be read" in str(checkpoint.problem(path))
    (tmp_path / "000000009").write_bytes(b"a file, not a folder")
    assert "cannot be read" in str(checkpoint.problem(tmp_path / "000000009"))


# ---- a save that is interrupted at any of its calls

SHIM = '''
import builtins, errno, os, shutil, signal, sys
from pathlib import Path

import torch

from lowerbound import checkpoint, files
from lowerbound.errors import StorageError

calls, fail_at, mode = 0, 0, "kill"


def fault(gentle):
    """Count one call; at the chosen one the process dies, or the call fails."""
    global calls
    calls += 1
    if mode == "kill" and calls == fail_at:
        os.kill(os.getpid(), signal.SIGKILL)
    if mode == "EIO" and calls == fail_at:
        raise OSError(errno.EIO, "Input/output error")
    if mode == "ENOSPC" and calls >= fail_at and not gentle:  # a full disk stays full, and lets one delete
        raise OSError(errno.ENOSPC, "No space left on device")


def wrap(name, gentle=False):
    real = getattr(os, name)

    def call(*args, **kwargs):
        fault(gentle)
        return real(*args, **kwargs)

    setattr(os, name, call)


class Stream:
    def __init__(self, file):
        self.file = file

    def write(self, data):
        try:
            fault(False)
        except OSError:
            self.file.write(data[: len(data) // 2])
            raise
        half = len(data) // 2
        self.file.write(data[:half])
        self.file.flush()
        fault(False)  # between the halves
        return half + self.file.write(data[half:])

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.file.close()

    def __getattr__(self, name):
        return getattr(self.file, name)


def opened(path, how="r", *args, **kwargs):
    file = real_open(path, how, *args, **kwargs)
    return Stream(file) if "w" in how else file


def save(folder, step):
    tensors = {"weights": {"a": torch.full((50,), float(step))}, "objective": {}}
    checkpoint.save(folder, step, tensors, {"step": step}, {1})


def prepare(folder, scene):
    folder.mkdir()
    if scene != "first":
        for step in (1, 2, 3):
            save(folder, step)
    if scene == "damaged":  # the step that will be saved is there, and broken
        save(folder, 4)
        (folder / "000000004" / "state.json").write_bytes(b"{}")


def attempt(folder, n, how):
    global fail_at, mode, real_open
    mode, fail_at = how, n
    for name in ("fsync", "rename", "replace", "mkdir"):
        wrap(name)
    for name in ("unlink", "rmdir"):
        wrap(name, gentle=True)
    real_open = builtins.open
    files.open = opened
    try:
        save(folder, 4)
    except StorageError as error:
        print(error)
        return 5
    return 0 if calls < n else 6


base, scene, how = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
n, code = 1, None
while code != 0:
    folder = base / f"{n:03d}"
    prepare(folder, scene)
    child = os.fork()
    if child == 0:
        sys.stdout = real = open(base / f"{n:03d}.txt", "w")
        code = attempt(folder, n, how)
        real.flush()
        os._exit(code)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    with open(base / f"{n:03d}.code", "w") as file:
        file.write(str(code))
    n += 1
'''


def attempts(base: Path, scene: str, how: str) -> list[tuple[Path, int, str]]:
    """Save step 4 in one process for each call that can fail: its folder, exit code and message."""
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    subprocess.run([sys.executable, "-c", SHIM, base, scene, how], env=env, check=True, timeout=120)
    folders = sorted(path for path in base.iterdir() if path.is_dir())
    return [(f, int(f.with_suffix(".code").read_text()), f.with_suffix(".txt").read_text()) for f in folders]


def steps(folder: Path) -> list[int]:
    """The checkpoints that are whole; each must hold the tensors of its step."""
    whole = [path for path in checkpoint.listed(folder) if checkpoint.problem(path) is None]
    for path in whole:
        tensors, state = checkpoint.load(path)
        assert state["step"] == int(path.name)
        assert torch.equal(tensors["weights"]["a"], torch.full((50,), float(path.name)))
    return [int(path.name) for path in whole]


@pytest.mark.parametrize("scene", ["first", "later", "damaged"])
def test_killed_at_any_call_of_a_save_the_newest_is_whole(tmp_path: Path, scene: str) -> None:
    done = attempts(tmp_path, scene, "kill")
    assert [code for _, code, _ in done] == [-9] * (len(done) - 1) + [0]
    # four files of two halves and an fsync, the folder's making, rename and two fsyncs; then the deletions
    assert len(done) >= 17
    for folder, _, _ in done:
        found, broken = steps(folder), {int(p.name) for p in checkpoint.listed(folder) if checkpoint.problem(p)}
        if scene == "first":
            assert found in ([], [4])
        else:
            assert found[0] == 4 or found[:2] == [3, 2] or (scene, found[:2]) == ("damaged", [3, 1])
            assert 1 in found  # it was to be kept
        # what is not whole is older than the newest, being deleted, or was damaged before
        assert broken <= ({2, 3, 4} if scene == "damaged" else {2}), folder
        before = set(found)
        checkpoint.save(folder, 5, {"weights": {"a": torch.full((50,), 5.0)}}, {"step": 5}, {1})
        assert checkpoint.listed(folder)[0].name == "000000005"
        assert not list(folder.glob(".tmp-*"))
        assert before & {1} <= set(steps(folder))


@pytest.mark.parametrize("how", ["EIO", "ENOSPC"])
def test_where_a_call_fails_the_ones_before_stay_and_nothing_half_is_left(tmp_path: Path, how: str) -> None:
    done = attempts(tmp_path, "later", how)
    assert 5 in {code for _, code, _ in done}
    for folder, code, message in done:
        found = steps(folder)
        assert len(checkpoint.listed(folder)) == len(found) or found[0] == 4
        assert not list(folder.glob(".tmp-*"))
        if code == 5:
            assert found == [3, 2, 1] or found == [4, 3, 2, 1]  # the last: all but the rename's own fsync was done
            assert "000000004 could not be written" in message
            assert ("disk is full" in message) == (how == "ENOSPC")
        else:
            assert found[0] == 4
            assert 1 in found


def test_a_file_that_cannot_be_written_keeps_what_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(handle: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    path = tmp_path / "spec.json"
    files.write(path, b"old")
    for name in ("fsync", "replace"):
        with monkeypatch.context() as patch:
            patch.setattr(os, name, lambda *_: full(0))
            with pytest.raises(StorageError, match=r"spec\.json .*disk is full.*3 needed"):
                files.write(path, b"new")
        assert path.read_bytes() == b"old"
        assert list(tmp_path.iterdir()) == [path]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", place], capture_output=True, text=True)
    if mounted.returncode:
        pytest.skip(f"a small disk cannot be mounted here: {mounted.stderr.strip()}")
    yield place
    subprocess.run(["umount", place], check=True)


def test_a_disk_that_is_full(small_disk: Path) -> None:
    folder = small_disk / "checkpoints"
    tensors = {"weights": {"a": torch.zeros(100_000)}}  # 400 kB: two fit, three do not
    for step in (1, 2):
        checkpoint.save(folder, step, tensors, {"step": step}, set())
    with pytest.raises(StorageError, match=r"the disk is full \([\d,]+ bytes free, 400,\d+ needed\)"):
        checkpoint.save(folder, 3, tensors, {"step": 3}, set())
    assert sorted(path.name for path in folder.iterdir()) == ["000000001", "000000002"]
    assert all(checkpoint.problem(path) is None for path in checkpoint.listed(folder))
    shutil.rmtree(folder / "000000001")
    assert checkpoint.problem(checkpoint.save(folder, 3, tensors, {"step": 3}, set())) is None
