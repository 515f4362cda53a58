"""What the routes share: the folder of runs, the model in memory, and the images that were drawn or uploaded."""

from collections.abc import Callable
from pathlib import Path
from typing import final

from lowerbound.studio.memory import Memory, Opened
from lowerbound.studio.planning import Planner
from lowerbound.studio.processes import Trainings
from lowerbound.studio.shelf import Shelf
from lowerbound.studio.uploads import Uploads


@final
class Studio:
    """The studio of a folder.

    Arguments:
        folder: of the runs; it need not be there yet.
    """

    def __init__(self, folder: str | Path) -> None:
        self.shelf = Shelf(Path(folder))
        self.memory = Memory(self.shelf)
        self.planner = Planner()
        self.trainings = Trainings(self.shelf.folder)
        self.uploads = Uploads()
        self.ending: Callable[[], bool] = lambda: False  # whether the server ends: a stream lets go of its page then

    def opened(self, run: str) -> Opened:
        """Give a run with its model, by its opaque name."""
        return self.memory.open(run)
