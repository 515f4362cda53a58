"""What the files and folders of runs are called."""

import secrets
import string
from pathlib import Path

from lowerbound import files
from lowerbound.errors import UsageError

HISTORY = "history.jsonl"
TIMING = "timing.jsonl"
WEIGHTS = "weights.safetensors"
EVALUATION = "evaluation.json"
FRAMES = "frames.jsonl"
DIVERGED = "diverged.json"  # why the training ended; gone when it goes on
LOCK = ".lock"
GROUPS = ("seeds.json", "sweep.json")  # in a folder of several runs: of several seeds, and of a sweep


def make_folder(out: Path | None, name: str) -> Path:
    """Make a new folder, by default ``runs/<name>-<8 random characters>``; raises UsageError where ``out`` is there."""
    if out is None:
        out = Path("runs") / unlike(name)
    try:
        out.mkdir(parents=True)
    except (FileExistsError, NotADirectoryError):
        begun = any((out / name).exists() for name in ("spec.json", *GROUPS))
        advice = f"go on with it, lowerbound resume {out}, or give" if begun else "give"
        raise UsageError(f"{out} exists, and nothing is overwritten: {advice} another --out.") from None
    except OSError as error:
        raise files.storage_error(out, error) from error
    return out


def unlike(name: str) -> str:
    """Give a name that no other run has: 8 random characters after it."""
    letters = string.ascii_lowercase + string.digits
    return f"{name}-{''.join(secrets.choice(letters) for _ in range(8))}"
