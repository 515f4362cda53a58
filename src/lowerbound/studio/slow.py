"""Long work in short turns: the model has one lane, and decoding must not wait behind it."""

import threading
import time
from concurrent.futures import Future
from typing import Any, Generic, TypeVar, final

from lowerbound.gibbs import Steps as Steps  # such work gives what is done, of how much; returns what came of it

T = TypeVar("T")
TURN = 0.12  # seconds of one turn


@final
class Slow(Generic[T]):
    """Work that goes on a little whenever it is asked for, until its result is there: who asks no more has stopped it.

    Example:
        >>> def steps():
        ...     yield 1, 2
        ...     return "done"
        >>> work = Slow("counting", steps())
        >>> work.go(), work.result
        (True, 'done')
    """

    def __init__(self, words: str, steps: Steps[T]) -> None:
        self.words, self._steps = words, steps
        self.done, self.of = 0, 0
        self._found: list[T] = []
        self._error: Exception | None = None

    def go(self, seconds: float = TURN) -> bool:
        """Go on for a while; says whether it is done, and raises what went wrong as often as it is asked."""
        until = time.monotonic() + seconds
        while not self._found:
            if self._error is not None:
                raise self._error
            try:
                self.done, self.of = next(self._steps)
            except StopIteration as end:
                self._found.append(end.value)
            except Exception as error:
                self._error = error
                raise
            if time.monotonic() >= until:
                break
        return bool(self._found)

    @property
    def result(self) -> T:
        """What came of it; whatever is not done is done now."""
        self.go(float("inf"))
        return self._found[0]

    @property
    def progress(self) -> dict[str, Any]:
        """Tell the page how far it is."""
        return {"ready": False, "words": self.words, "done": self.done, "of": self.of}


def beside(call: Any, *arguments: Any) -> "Future[Any]":
    """Work in a thread of its own, which the studio's end does not wait for: nothing of the model is touched."""
    found: Future[Any] = Future()

    def work() -> None:
        try:
            found.set_result(call(*arguments))
        except Exception as error:
            found.set_exception(error)

    threading.Thread(target=work, daemon=True).start()
    return found
