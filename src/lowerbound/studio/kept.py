"""What was asked for last is kept, so much of it: the rest is made anew when it is asked for again."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar, final

K = TypeVar("K", bound=Hashable)
T = TypeVar("T")


@final
class Kept(Generic[K, T]):
    """Keeps the newest, by their keys; whatever was asked for longest ago goes first.

    Arguments:
        most: how many.

    Example:
        >>> kept = Kept(2)
        >>> [kept.made(key, key.upper) for key in "abac"], kept.find("a"), kept.find("b")
        (['A', 'B', 'A', 'C'], 'A', None)
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self._lock = threading.Lock()
        self._found: OrderedDict[K, T] = OrderedDict()

    def find(self, key: K) -> T | None:
        """Find what is kept under a key, or None."""
        with self._lock:
            if key in self._found:
                self._found.move_to_end(key)
            return self._found.get(key)

    def keep(self, key: K, value: T) -> T:
        """Keep something, and let go of the oldest where there is too much."""
        with self._lock:
            self._found[key] = value
            self._found.move_to_end(key)
            while len(self._found) > self.most:
                self._found.popitem(last=False)
        return value

    def made(self, key: K, make: Callable[[], T]) -> T:
        """Find what is kept under a key, or make it."""
        found = self.find(key)
        return self.keep(key, make()) if found is None else found
