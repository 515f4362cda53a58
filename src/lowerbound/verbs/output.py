"""The files that verbs write where ``--out`` says."""

from pathlib import Path

from matplotlib.figure import Figure

from lowerbound import figures, files
from lowerbound.errors import UsageError
from lowerbound.run import Run


def save(run: Run, figure: Figure, path: Path) -> Path:
    """Write a picture, with a note of the weights that it is from; raises UsageError where it is to be no .png."""
    if path.suffix.lower() != ".png":
        raise UsageError(f"--out {path}: a picture is written as .png.")
    make_place(path)
    return figures.save(figure, path, note=run.weights_note)


def write(path: Path, data: bytes) -> Path:
    """Write a file where --out says, and give its place; raises UsageError where it cannot be one."""
    make_place(path)
    files.write(path, data)
    return path


def make_place(path: Path) -> None:
    """Make the folder that a file is written to; raises UsageError where the path cannot be one of a file."""
    try:
        if path.is_dir():
            raise UsageError(f"--out {path} is a folder: give the name of a file.")
        path.parent.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        blocking = next((p for p in path.parents if p.is_file()), path.parent)
        raise UsageError(f"--out {path}: {blocking} is a file, not a folder; give another place.") from None
    except OSError as error:
        raise files.storage_error(path, error) from error
