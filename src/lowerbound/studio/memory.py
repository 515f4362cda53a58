"""One model in memory: that of the run which is looked at, until another is."""

import threading
from pathlib import Path
from typing import Any, final

from lowerbound import checkpoint, gallery
from lowerbound.run import WEIGHTS, Run
from lowerbound.studio.atlas import Atlas
from lowerbound.studio.kept import Kept
from lowerbound.studio.shelf import Shelf
from lowerbound.studio.slow import Slow

WORKS = 4  # that are kept of a run, half done or done


@final
class Opened:
    """A run with its model, its data, and what was computed of them: all of it goes when another run is opened."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.works: Kept[Any, Slow[Any]] = Kept(WORKS)
        self._atlases: dict[str, Atlas] = {}

    def atlas(self, split: str | None = None) -> Atlas:
        """Give the maps, and the codes, of a split: of the held-out one that pictures show, unless another is named."""
        chosen = split or gallery.held_out(self.run)
        if chosen not in self._atlases:
            self._atlases[chosen] = Atlas(self.run, chosen)
        return self._atlases[chosen]


@final
class Memory:
    """Holds one `Opened`, of the weights that are on the disk now."""

    def __init__(self, shelf: Shelf) -> None:
        self.shelf = shelf
        self.lock = threading.RLock()
        self._key: Any = None
        self._opened: Opened | None = None

    def open(self, id: str) -> Opened:
        """Give a run with its model; that of another run, or of weights that are others now, is let go before."""
        with self.lock:
            path = self._path(id)
            key = id, _weights(path)
            if self._opened is None or key != self._key:
                self._opened = None  # before the next is loaded: never two at once
                run = self.shelf.open(id)
                run.model  # noqa: B018 - what cannot be loaded is said now
                self._key, self._opened = key, Opened(run)
            return self._opened

    def _path(self, id: str) -> Path:
        """Find a run; that which is open is not looked for among a thousand others at every move of a slider."""
        if self._opened is not None and self._key[0] == id and (self._opened.run.path / "spec.json").is_file():
            return self._opened.run.path
        return self.shelf.find(id).path


def _weights(path: Path) -> Any:
    """Tell weights from others without reading them."""
    chosen = path / WEIGHTS
    if chosen.exists():
        found = chosen.stat()
        return found.st_mtime_ns, found.st_size
    return [saved.name for saved in checkpoint.listed(path / "checkpoints")[:1]]
