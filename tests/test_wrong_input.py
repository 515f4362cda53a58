"""What is wrong is said once, with its name and what to do, by the right exit code; and nothing half is left behind."""

import contextlib
import io
import json
import os
import re
import shutil
import signal
import struct
import subprocess
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from commandline import at, begin, call, ended, run, saved, tree
from lowerbound import begin as begin_
from lowerbound import checkpoint, process
from lowerbound.data.fetch import cache_folder
from lowerbound.errors import StoppedError
from lowerbound.progress import Stop, work

USAGE, DATA, DIVERGED, STORAGE = 2, 3, 4, 5
TINY = ("--epochs", "0.5", "--set", "train.batch=8")


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")


@pytest.fixture
def refused(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Run a command that must be refused before it writes anything: the one message on stderr."""

    def run_it(code: int, *words: str | Path) -> str:
        before = tree(Path())
        folders = sorted(path for path in Path().rglob("*") if path.is_dir())
        assert call(*words) == code
        err = capsys.readouterr().err
        assert "Traceback" not in err
        assert err.count("lowerbound: ") == 1 or (code == USAGE and "--help" in err)
        assert tree(Path()) == before
        assert sorted(path for path in Path().rglob("*") if path.is_dir()) == folders
        return err

    return run_it


# ---- usage

WRONG_WORDS = [
    (("--recipe", "beta-vea"), "There is no recipe 'beta-vea'; did you mean 'beta-vae'?"),
    (("--set", "train.lrr=0.1"), "train.lrr: 'plan' has no such key; did you mean 'lr'?"),
    (("--set", "modl.prior.kind=standard"), "did you mean 'model'?"),
    (("--set", "model.prior.kind=standart"), "there is no prior 'standart'; did you mean 'standard'?"),
    (("--set", "train.lr"), "write it as path=value"),
    (("--set", "train.lr=quick"), "train.lr is 'quick'"),
    (("--set", "train.lr=-1"), "train.lr is -1"),
    (("--set", "train.lr=NaN"), "train.lr is nan"),
    (("--set", "data.validatoin=3"), "did you mean 'validation'?"),
    (("--set", "train.batch=5000"), "there are only 1437 training images: set it lower, --set train.batch="),
    (("--set", "train.patience=2", "--validation", "0"), "train.patience needs a validation split"),
    (("--beta", "-1"), "β (--beta) is -1: objective.terms.kl.weight is -1"),
    (("--set", 'data={"kind": "moons"}'), "the data are given as the argument DATA, lowerbound train DATA"),
    (("--set", "data=moons"), "the data are given as the argument DATA"),
    (("--set", " data = moons"), "the data are given as the argument DATA"),
    (("--beta", "nan"), "nan"),
    (("--latents", "0"), "latents is 0: it must be a whole number of at least 1"),
    (("--epochs", "0"), "train.epochs is 0"),
    (("--epochs", "-1"), "train.epochs is -1"),
    (("--seeds", "0"), "--seeds is 0: at least 1 is needed"),
    (("--seed", "-1"), "seed is -1"),
    (("--seeds", "2", "--seed", "-1"), "seed is -1"),
    (("--validation", "-3"), "-3"),
    (("--size", "abc"), "--size 'abc': write it as WIDTHxHEIGHT, such as 64x48"),
    (("--size", "8x8"), "size"),
    (("--validation", "2.5"), "data.validation is 2.5"),
    (("--validation", "nan"), "data.validation is nan"),
    (("--device", "nonsense"), "The device 'nonsense' is not there; there is: "),
    (("--device", "cuda:x"), "cuda"),
    (("--seeds", "2", "--device", "nonsense"), "The device 'nonsense' is not there"),
    (("--seeds", "2", "--set", "train.batch=5000"), "there are only 1437 training images"),
    (("--latents", "many"), "--latents is 'many': it must be a whole number."),
    (("--latents", "2.5"), "--latents is '2.5': it must be a whole number."),
    (("--beta", "abc"), "--beta is 'abc': it must be a number."),
    (("--binarise", "sometimes"), "sometimes"),
    (("--nothing-of-the-kind",), "nothing-of-the-kind"),
]


@pytest.mark.parametrize(("words", "says"), WRONG_WORDS, ids=[" ".join(words) for words, _ in WRONG_WORDS])
def test_wrong_words(words: tuple[str, ...], says: str, refused: Callable[..., str]) -> None:
    assert says in refused(USAGE, "train", "digits", *words)


def test_a_verb_that_is_none(refused: Callable[..., str]) -> None:
    assert "There is no command 'trian'; did you mean 'train'?" in refused(USAGE, "trian")


@pytest.mark.parametrize(
    "verb", ["resume", "evaluate", "sample", "reconstruct", "traverse", "interpolate", "embed", "report"]
)
def test_a_run_that_is_none(verb: str, refused: Callable[..., str]) -> None:
    for name in ("absent", "."):
        err = refused(USAGE, verb, name)
        assert f"{name} is not a run: it has no spec.json. Give the directory that lowerbound train printed." in err


def test_a_directory_that_exists_is_not_overwritten(refused: Callable[..., str]) -> None:
    Path("mine").mkdir()
    Path("mine/notes.txt").write_text("precious")
    assert "mine exists, and nothing is overwritten: give another --out." in refused(
        USAGE, "train", "digits", "--out", "mine"
    )
    Path("file").write_text("precious")
    assert "file exists" in refused(USAGE, "train", "digits", "--out", "file")
    assert "file" in refused(USAGE, "train", "digits", "--out", "file/below")


# ---- data


def test_an_unknown_name(refused: Callable[..., str]) -> None:
    err = refused(DATA, "train", "minst")
    assert "There is no data set, folder or file 'minst'; did you mean 'mnist'?" in err
    assert "'/absent/photos'" in refused(DATA, "train", "/absent/photos")


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of the test's own, with MNIST in it."""
    mine = tmp_path / "cache"
    assert call("train", "mnist", "--epochs", "-1") == USAGE  # wherever MNIST comes from, it is in the user's cache now
    shutil.copytree(cache_folder() / "mnist", mine / "mnist")
    monkeypatch.setenv("LOWERBOUND_CACHE", str(mine))
    return mine / "mnist"


def test_mnist_that_is_damaged(cache: Path, capsys: pytest.CaptureFixture[str], refused: Callable[..., str]) -> None:
    capsys.readouterr()
    path = cache / "train-images-idx3-ubyte"
    data = path.read_bytes()
    changes = {
        "it has 1000 bytes instead of 47040016": data[:1000],
        "SHA-256 is": data[:-1] + bytes([data[-1] ^ 1]),  # one pixel, one shade
        "it has 0 bytes": b"",
    }
    for says, changed in changes.items():
        path.write_bytes(changed)
        err = refused(DATA, "train", "mnist", "--out", "run")
        assert f"{path} is damaged: " in err
        assert says in err
        assert "Delete that file, and it is fetched again." in err
        assert path.read_bytes() == changed
    path.write_bytes(data)
    assert call("train", "mnist", "--epochs", "-1") == USAGE


def header(shape: tuple[int, ...]) -> bytes:
    text = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}}}".ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text.encode()


def test_arrays_that_lie_or_hold_objects(refused: Callable[..., str]) -> None:
    with zipfile.ZipFile("huge.npz", "w") as archive:
        archive.writestr("x.npy", header((2**34,)))  # 64 GiB, it says
    err = refused(DATA, "train", "huge.npz")
    assert "huge.npz" in err
    assert f"{2**36} bytes, but the file holds" in err
    np.savez("objects.npz", x=np.array([{"a": 1}, None], dtype=object))
    err = refused(DATA, "train", "objects.npz")
    assert "objects.npz" in err
    assert "holds Python objects (pickle), which could run any code when read; it is not opened" in err
    Path("not.npz").write_bytes(b"PK\3\4 and then nothing")
    assert "not.npz" in refused(DATA, "train", "not.npz")
    Path("notes.txt").write_text("hello")
    assert "notes.txt is a file, but neither .npy nor .npz" in refused(DATA, "train", "notes.txt")


def test_numbers_that_no_model_takes(refused: Callable[..., str], capsys: pytest.CaptureFixture[str]) -> None:
    x = np.random.default_rng(0).random((80, 8, 8), np.float32)
    x[3, 4, 5] = np.nan
    np.save("nan.npy", x)
    err = refused(DATA, "train", "nan.npy")
    assert "nan.npy" in err
    assert "NaN" in err
    np.save("wide.npy", np.nan_to_num(x) * 7 - 3)
    err = refused(DATA, "train", "wide.npy", *TINY)
    assert "The values of wide lie in [-3, " in err
    assert "likelihood Bernoulli takes [0, 1] only" in err
    (advice,) = re.findall(r"--set (\S+)", err)
    assert advice == "model.likelihood.kind=gaussian"
    assert "lie in [-3, " in refused(DATA, "train", "wide.npy", "--seeds", "2", *TINY)
    assert call("train", "wide.npy", *TINY, "--set", advice, "--out", "wide") == 0
    assert json.loads(Path("wide/metrics.json").read_bytes())["likelihood"]["name"] == "Gaussian"
    assert capsys.readouterr().err == ""
    np.save("grey.npy", np.nan_to_num(x) * 255)
    scale, kind = re.findall(r"--set ([^\s)]+)", refused(DATA, "train", "grey.npy", *TINY))
    assert (scale, kind) == ("data.scale=255", "model.likelihood.kind=gaussian")
    assert call("train", "grey.npy", *TINY, "--set", scale, "--out", "grey") == 0
    assert json.loads(Path("grey/data.json").read_bytes())["unit"] is True


def images(folder: str, count: int, size: tuple[int, int] = (12, 10)) -> None:
    Path(folder).mkdir(exist_ok=True)
    random = np.random.default_rng(0)
    for i in range(count):
        Image.fromarray(random.integers(0, 255, (size[1], size[0]), np.uint8)).save(Path(folder) / f"{i:02d}.png")


def test_folders_that_cannot_be_used(refused: Callable[..., str]) -> None:
    Path("empty").mkdir()
    err = refused(DATA, "train", "empty")
    assert "There is no image in" in err
    assert "empty" in err
    images("mixed", 4)
    Image.new("L", (20, 20)).save("mixed/large.png")
    err = refused(DATA, "train", "mixed")
    assert "2 different sizes" in err
    assert "large.png" in err
    assert "--size 12x10" in err
    Path("broken").mkdir()
    Path("broken/a.png").write_bytes(b"\x89PNG\r\n\x1a\n and then nothing")
    assert "a.png" in refused(DATA, "train", "broken")


def test_a_folder_with_some_broken_images_is_used_and_they_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    images("photos", 40)
    packed = io.BytesIO()
    Image.new("L", (12, 10)).save(packed, "png")
    Path("photos/cut.png").write_bytes(packed.getvalue()[:40])
    Path("photos/text.jpg").write_text("hello")
    for name in ("a.heic", "B.HEIC", "c.avif", "notes.txt"):
        Path("photos", name).write_bytes(b"of no matter")
    Path("photos/zero.gif").write_bytes(b"")
    assert call("train", "photos", *TINY, "--out", "run") == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert "32 train, 4 validation, 4 test" in out
    assert "3 files could not be read: " in out
    assert "Left out, in formats that are not read: 1 .avif, 2 .heic. Convert them to PNG or JPEG." in out
    for name in ("cut.png", "text.jpg", "zero.gif"):
        assert name in out
        assert name in json.dumps(json.loads(Path("run/data.json").read_bytes())["unreadable"])


def test_data_that_went_away(small: Path, refused: Callable[..., str]) -> None:
    shutil.move("x.npy", "elsewhere.npy")
    for words in (("evaluate", small), ("resume", small), ("reconstruct", small)):
        assert "x.npy" in refused(DATA, *words)


# ---- a run, and what can happen to it


@pytest.fixture(scope="module")
def _small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    base = tmp_path_factory.mktemp("small")
    np.save(base / "x.npy", np.random.default_rng(0).random((200, 8, 8), np.float32))
    words = ("--epochs", "1", "--set", "train.batch=16", "--set", "train.save=4", "--set", "train.log=2")
    before = Path.cwd()
    os.chdir(base)
    try:
        assert call("train", "x.npy", *words, "--out", "run") == 0
    finally:
        os.chdir(before)
    spec = json.loads((base / "run" / "spec.json").read_bytes())
    assert spec["data"]["path"] == str(base / "x.npy")
    return base


@pytest.fixture
def small(_small: Path) -> Path:
    """A finished run of ten steps in the working folder, with its data beside it."""
    shutil.copytree(_small / "run", "run")
    shutil.copy(_small / "x.npy", "x.npy")
    spec = json.loads(Path("run/spec.json").read_bytes())
    spec["data"]["path"] = str(Path("x.npy").resolve())
    Path("run/spec.json").write_text(json.dumps(spec))
    return Path("run")


def test_a_run_that_exists_is_offered(small: Path, refused: Callable[..., str]) -> None:
    err = refused(USAGE, "train", "x.npy", "--out", small)
    assert "run exists, and nothing is overwritten: go on with it, lowerbound resume run, or give another --out." in err


def test_a_flipped_byte_in_the_newest_checkpoint(
    small: Path, refused: Callable[..., str], capsys: pytest.CaptureFixture[str]
) -> None:
    newest, before = saved(small)[::-1][:2]
    folder = small / "checkpoints" / f"{newest:09d}"
    path = folder / "optimizer.safetensors"
    good = (small / "weights.safetensors").read_bytes()
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    err = refused(STORAGE, "resume", small)
    assert (
        f"The checkpoint {folder} is damaged: optimizer.safetensors is not what was saved (its SHA-256 differs)." in err
    )
    advice = err.split("The one before it is whole: lowerbound ")[1].split()
    assert advice == ["resume", "run", "--at", str(before)]
    assert call(*advice) == 0
    assert f"Going on with run at step {before} of {newest}" in capsys.readouterr().out
    assert (small / "weights.safetensors").read_bytes() == good
    (aside,) = (small / "checkpoints").glob("*.aside-*")
    assert (aside / "optimizer.safetensors").read_bytes() == data


def test_no_checkpoint_is_whole(small: Path, refused: Callable[..., str]) -> None:
    for step in saved(small):
        (small / "checkpoints" / f"{step:09d}" / "manifest.json").write_text("{")
    assert "None before it is whole: train it anew." in refused(STORAGE, "resume", small)


def damage(folder: Path) -> None:
    (folder / "manifest.json").write_text("{")


def test_going_back_to_a_damaged_checkpoint_changes_nothing(
    small: Path, refused: Callable[..., str], capsys: pytest.CaptureFixture[str]
) -> None:
    newest, before = saved(small)[::-1][:2]
    for step in saved(small)[:-1]:
        damage(small / "checkpoints" / f"{step:09d}")
    err = refused(STORAGE, "resume", small, "--at", str(before))
    advice = err.split("a later one is whole: lowerbound ")[1].split()
    assert advice == ["resume", "run", "--at", str(newest)]
    assert call(*advice) == 0
    assert call("resume", small) == 0
    assert capsys.readouterr().err == ""


def test_going_back_is_refused_before_newer_checkpoints_are_renamed(small: Path, refused: Callable[..., str]) -> None:
    there = saved(small)
    before = str(there[-2])
    refused(USAGE, "resume", small, "--at", before, "--device", "nonsense")
    shutil.move("x.npy", "elsewhere.npy")
    refused(DATA, "resume", small, "--at", before)
    assert saved(small) == there


def test_a_finished_run_without_checkpoints_is_not_trained_again(small: Path, refused: Callable[..., str]) -> None:
    for step in saved(small):
        damage(small / "checkpoints" / f"{step:09d}")
    assert "Its weights and figures stay as they are." in refused(STORAGE, "resume", small)
    shutil.rmtree(small / "checkpoints")
    err = refused(STORAGE, "resume", small)
    assert "run is finished, but its checkpoints are gone" in err
    assert call("evaluate", small) == 0
    assert call("report", small) == 0


def test_at_a_step_without_a_checkpoint(small: Path, refused: Callable[..., str]) -> None:
    steps = ", ".join(map(str, saved(small)))
    for step in ("1", "9"):
        err = refused(USAGE, "resume", small, "--at", step)
        assert f"run has no checkpoint of step {step}. Those that it has are of the steps {steps}: give one" in err


def test_damaged_weights(small: Path, refused: Callable[..., str], capsys: pytest.CaptureFixture[str]) -> None:
    path = small / "weights.safetensors"
    data = path.read_bytes()
    for damaged in (data[:-1] + bytes([data[-1] ^ 1]), data[:100], b""):
        path.write_bytes(damaged)
        for verb in ("sample", "evaluate", "embed", "report"):
            err = refused(STORAGE, verb, small)
            assert f"{path} is damaged: its SHA-256 is not the one in metrics.json." in err
            assert f"lowerbound resume {small} writes it anew" in err
    assert call("resume", small) == 0
    assert path.read_bytes() == data
    assert call("sample", small) == 0
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("name", ["spec.json", "data.json", "metrics.json", "history.jsonl"])
def test_damaged_files_of_a_run(name: str, small: Path, refused: Callable[..., str]) -> None:
    (small / name).write_bytes(b'{"half": ' + b"\n" * name.endswith("l"))
    err = refused(STORAGE, "report", small)
    assert f"{small / name} is damaged" in err


@pytest.mark.parametrize(
    "words",
    [
        ("evaluate", "run", "--samples", "0"),
        ("evaluate", "run", "--split", "tset"),
        ("sample", "run", "-n", "0"),
        ("sample", "run", "--temperature", "-1"),
        ("sample", "run", "--temperature", "nan"),
        ("sample", "run", "--out", "new/picture.gif"),
        ("reconstruct", "run", "-n", "0"),
        ("traverse", "run", "--latents", "0"),
        ("traverse", "run", "--image", "20"),
        ("traverse", "run", "--image", "-1"),
        ("traverse", "run", "--reach", "inf"),
        ("interpolate", "run", "--start", "1"),
        ("interpolate", "run", "--start", "1", "--end", "20"),
        ("interpolate", "run", "--steps", "1"),
        ("list", "receipes"),
    ],
    ids=" ".join,
)
def test_wrong_words_on_a_run(words: tuple[str, ...], small: Path, refused: Callable[..., str]) -> None:
    err = refused(USAGE, *words)
    assert words[-1] in err or words[-2] in err


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("sample", "run", "--out", "run/spec.json/x.png"), "run/spec.json is a file, not a folder"),
        (("sample", "run", "--out", "run/spec.json/deep/x.npy"), "run/spec.json is a file, not a folder"),
        (("embed", "run", "--out", "run/spec.json/codes"), "run/spec.json is a file, not a folder"),
        (("sample", "run", "--out", "folder.npy"), "--out folder.npy is a folder"),
        (("reconstruct", "run", "--out", "folder.png"), "--out folder.png is a folder"),
        (("embed", "run", "--out", "."), "--out . is a folder: give the files' name without its ending, such as codes"),
        (("embed", "run", "--out", ".."), "such as ../codes"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_places_that_are_no_file(words: tuple[str, ...], says: str, small: Path, refused: Callable[..., str]) -> None:
    for name in ("folder.npy", "folder.png"):
        Path(name).mkdir()
    assert says in refused(USAGE, *words)


def test_places_that_take_no_file(small: Path, refused: Callable[..., str]) -> None:
    for words in (("sample", "run", "--out", "/proc/x/y.png"), ("embed", "run", "--out", "/proc/x/codes")):
        assert f"{words[-1].removesuffix('codes')}" in (err := refused(STORAGE, *words))
        assert "could not be written" in err


# ---- divergence


def test_a_training_that_diverges_keeps_its_last_checkpoint(capsys: pytest.CaptureFixture[str]) -> None:
    x = np.random.default_rng(0).normal(size=(64, 3)).astype(np.float32) * 1e15
    np.save("x.npy", x)
    words = ("--epochs", "4", "--set", "train.batch=8", "--set", "train.save=1", "--set", "train.lr=1e6")
    code = call("train", "x.npy", *words, "--set", "train.warmup=0", "--out", "run")
    out, err = capsys.readouterr()
    assert code == DIVERGED, out
    found = re.match(r"lowerbound: Step (\d+): (.+) is not finite", err)
    assert found
    assert "Nothing was changed by this step." in err
    assert "try a lower train.lr" in err
    assert err.count("\n") == 1
    assert max(saved(Path("run"))) == int(found[1])  # the weights before the step that failed
    for path in checkpoint.listed(Path("run/checkpoints")):
        tensors, _ = checkpoint.load(path)
        assert all(bool(t.isfinite().all()) for part in tensors.values() for t in part.values())
    assert not Path("run/metrics.json").exists()
    assert call("evaluate", "run") == 0
    assert "the run is not finished" in capsys.readouterr().out


# ---- the disk


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """Mount a disk of a size."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = []

    def mount(size: str) -> Path:
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", place], capture_output=True, text=True
        )
        if done.returncode:
            pytest.skip(f"a small disk cannot be mounted here: {done.stderr.strip()}")
        mounted.append(place)
        return place

    yield mount
    for path in mounted:
        subprocess.run(["umount", path], check=True)


def test_a_disk_that_is_full_from_the_start(disk: Callable[[str], Path]) -> None:
    place = disk("400k")
    (place / "large").write_bytes(bytes(380 * 1024))
    code, _, err = run("train", "digits", "--out", place / "run")
    assert code == STORAGE
    assert re.fullmatch(
        rf"lowerbound: {place}/run\S* could not be written: the disk is full \(.* free, .*\)\n",
        err.replace(". ", "; ").split("; Nothing")[0] + "\n",
    )
    assert "Free some space" in err
    left = {path.name for path in place.iterdir()}
    assert left in ({"large"}, {"large", "run"})
    assert not list(place.glob("run/checkpoints/*"))


def test_a_disk_that_becomes_full_in_the_middle(disk: Callable[[str], Path]) -> None:
    place = disk("6m")
    path = place / "run"
    words = ("train", "digits", "--epochs", "4", "--set", "train.batch=64", "--set", "train.save=5")
    process = begin(*words, "--set", "train.log=5", "--out", path)
    at(process, lambda: max(saved(path), default=0) >= 10)
    with open(place / "large", "wb", buffering=0) as large:
        try:
            while large.write(bytes(2**16)):
                pass
        except OSError:
            pass
        code, _, err = ended(process)
    assert code == STORAGE
    assert err.count("\n") == 1
    assert "the disk is full" in err
    assert "Nothing half was left." in err
    assert err.endswith(f"Free some space, then go on with: lowerbound resume {path}.\n")
    found = checkpoint.listed(path / "checkpoints")
    assert len(found) >= 2
    assert [checkpoint.problem(p) for p in found] == [None] * len(found)
    assert not list(path.rglob(".tmp-*"))
    (place / "large").unlink()
    code, _, err = run("resume", path)
    assert (code, err) == (0, "")
    steps = [json.loads(line)["step"] for line in (path / "history.jsonl").read_text().splitlines() if "train" in line]
    assert steps == [*range(5, 90, 5), 89]


def test_a_result_that_cannot_be_written(
    small: Path, disk: Callable[[str], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    place = disk("8k")
    for words in (
        ("sample", small, "-n", "500", "--out", place / "x.npy"),
        ("sample", small, "--out", place / "x.png"),
        ("embed", small, "--out", place / "codes"),
    ):
        assert call(*words) == STORAGE
        err = capsys.readouterr().err
        assert str(place) in err
        assert "the disk is full" in err
        assert [path for path in place.iterdir() if path.suffix != ".npz"] == []
        for path in place.iterdir():
            path.unlink()


def test_a_place_that_takes_no_folder(refused: Callable[..., str]) -> None:
    assert "could not be written" in refused(STORAGE, "train", "digits", "--out", "/proc/run")


def test_a_folder_that_may_only_be_read(refused: Callable[..., str]) -> None:
    if os.geteuid() == 0:
        pytest.skip("root may write everywhere")
    Path("fixed").mkdir(mode=0o555)
    assert "Permission denied" in refused(STORAGE, "train", "digits", "--out", "fixed/run")


# ---- signals, and what a debugger wants


def test_stopped_before_it_began() -> None:
    process = begin("train", "digits", "--epochs", "400", "--out", "run")
    at(process, lambda: Path("run").exists())
    process.send_signal(signal.SIGTERM)
    process.send_signal(signal.SIGTERM)
    code, _, err = ended(process)
    assert code == 75
    assert err.count("\n") == 1
    assert "Stopped" in err
    assert "Traceback" not in err


def test_a_stop_that_is_lost_on_its_way_is_remembered(tmp_path: Path) -> None:
    node, source = begin_.open_data("digits")
    job = begin_.prepare(begin_.plan_spec(node, source)[0], source, name="vae", out=tmp_path / "run")
    stop = Stop()
    with stop.listening(), contextlib.suppress(Exception):  # as in a library that is being imported
        signal.raise_signal(signal.SIGTERM)
    assert stop.asked
    with pytest.raises(StoppedError, match="Stopped at step 1 of"):
        work(job, stop)
    assert saved(tmp_path / "run") == [0, 1]


def test_stopped_while_its_folder_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    node, source = begin_.open_data("digits")
    spec, _ = begin_.plan_spec(node, source)
    monkeypatch.setattr(process, "environment", lambda: signal.raise_signal(signal.SIGINT))
    with Stop().listening(), pytest.raises(StoppedError):
        begin_.prepare(spec, source, name="vae", out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_debug_shows_where(tmp_path: Path) -> None:
    code, _, err = run("train", "digits", "--recipe", "nothing", "--debug")
    assert code != 0
    assert "Traceback (most recent call last)" in err
    assert "UsageError: There is no recipe 'nothing'" in err
    assert run("train", "digits", "--recipe", "nothing")[2].count("\n") == 1
