"""What the verbs say: lines on the console, those of the data's loaders among them."""

import io
import logging

from lowerbound.progress import console


def say(text: str) -> None:
    """Print a line as it is: names from outside are no markup."""
    console.print(text, markup=False)


def hear_loaders() -> None:
    """Let the data's loaders say what they do."""
    handler = logging.StreamHandler(_Console())
    handler.setFormatter(logging.Formatter("%(message)s"))
    log = logging.getLogger("lowerbound")
    if not log.handlers:
        log.addHandler(handler)
        log.setLevel(logging.INFO)


class _Console(io.StringIO):
    def write(self, text: str) -> int:
        console.print(text, end="", markup=False)
        return len(text)
