"""What is set in the process as the spec of a run asks for it."""

from typing import Any

from lowerbound import process
from lowerbound import spec as specs
from lowerbound.run import Run


def settle(spec: specs.Spec, command: str = "") -> dict[str, Any]:
    """Set what is process-wide as a run's spec asks for it; gives what env.json records of it."""
    return {"settings": process.tune(deterministic=spec["train"]["deterministic"]), "command": command}


def opened(path: str) -> Run:
    """Open a run under the process settings that it was trained under, so that figures agree to the last bit."""
    run = Run.open(path)
    settle(run.spec)
    return run
