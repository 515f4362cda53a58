"""How long a thread that waits for the others spins before it sleeps; torch reads it once, when it is loaded."""

import os

SPINS = "2000"  # some ten microseconds


def wait_briefly() -> None:
    """Let waiting threads spin for a moment and then sleep, unless the user's environment says otherwise.

    A step of a small network is some hundred parallel regions of microseconds. Threads that sleep at once (PASSIVE)
    spend a quarter to a half of it waking up; threads that spin for milliseconds (libgomp's default) slow two programs
    on the same cores many times.

    Example:
        >>> before = dict(os.environ)
        >>> wait_briefly()
        >>> os.environ["OMP_WAIT_POLICY"] in ("PASSIVE", before.get("OMP_WAIT_POLICY"))
        True
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ["OMP_WAIT_POLICY"] = "PASSIVE"  # what other runtimes understand
        os.environ.setdefault("GOMP_SPINCOUNT", SPINS)


def waiting() -> str:
    """Say how threads wait, for the record."""
    policy, spins = (os.environ.get(name) for name in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT"))
    return f"{policy or 'as the runtime does'}" + (f", after {spins} spins" if spins else "")
