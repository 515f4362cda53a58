"""The pictures that were drawn or uploaded, by opaque names; only the newest are kept, and only in memory."""

import secrets
from typing import final

from lowerbound.studio.kept import Kept
from lowerbound.studio.route import MissingError
from lowerbound.tasks.drawn import Drawn

MOST = 32


@final
class Uploads:
    """Keeps the newest pictures.

    Arguments:
        most: how many.
    """

    def __init__(self, most: int = MOST) -> None:
        self._kept: Kept[str, Drawn] = Kept(most)

    def keep(self, picture: Drawn) -> str:
        """Keep a picture; gives its name, which nobody can guess."""
        name = secrets.token_hex(6)
        self._kept.keep(name, picture)
        return name

    def find(self, name: str) -> Drawn:
        """Find a picture by its name; raises MissingError."""
        found = self._kept.find(name)
        if found is None:
            most = self._kept.most
            raise MissingError(f"This picture is no longer kept, only the newest {most} are: give it again.")
        return found
