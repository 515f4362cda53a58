"""The pictures that were drawn or uploaded, by opaque names; only the newest are kept, and only in memory."""

import secrets
import threading
from collections import OrderedDict
from typing import final

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
        self.most = most
        self._lock = threading.Lock()
        self._kept: OrderedDict[str, Drawn] = OrderedDict()

    def keep(self, picture: Drawn) -> str:
        """Keep a picture; gives its name, which nobody can guess."""
        name = secrets.token_hex(6)
        with self._lock:
            self._kept[name] = picture
            while len(self._kept) > self.most:
                self._kept.popitem(last=False)
        return name

    def find(self, name: str) -> Drawn:
        """Find a picture by its name; raises MissingError."""
        with self._lock:
            if name not in self._kept:
                raise MissingError(f"This picture is no longer kept, only the newest {self.most} are: give it again.")
            self._kept.move_to_end(name)
            return self._kept[name]
