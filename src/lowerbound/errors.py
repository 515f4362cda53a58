"""The errors that lowerbound reports to people, each with the exit code of the command line.

Every message says what happened, where, the likely cause and what to do.
"""


class LowerboundError(Exception):
    """Anything that lowerbound explains in words; ``code`` is the command line's exit code."""

    code = 1


class UsageError(LowerboundError):
    """A wrong argument, key, recipe or combination of parts."""

    code = 2


class DataError(LowerboundError):
    """Data that are missing, damaged or not what the model can take."""

    code = 3


class DivergedError(LowerboundError):
    """A loss or gradient that is not finite; raised before the optimiser's step."""

    code = 4


class StorageError(LowerboundError):
    """A run or checkpoint that cannot be written, or that is damaged."""

    code = 5


class ProofError(LowerboundError):
    """A quantity whose exact value is known came out otherwise, see ``lowerbound doctor``."""

    code = 6


class StoppedError(LowerboundError):
    """Training stopped on request; everything is saved and can be resumed."""

    code = 75


def nearest(word: str, known: "list[str] | tuple[str, ...]") -> str:
    """Say which known name was probably meant, and which ones there are."""
    import difflib

    match = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    names = ", ".join(sorted(known))
    return f"did you mean {match[0]!r}? Known: {names}." if match else f"known are: {names}."
