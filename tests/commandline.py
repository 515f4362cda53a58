"""The command line as a user starts it: real processes, watched and stopped from outside."""

import json
import logging
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

ENV = {**os.environ, "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE", "PYTHONUNBUFFERED": "1"}
LIMIT = 180.0  # seconds that anything may take


def begin(*words: str | Path, env: dict[str, str] | None = None) -> "subprocess.Popen[str]":
    """Start ``lowerbound`` with these words."""
    command = [sys.executable, "-m", "lowerbound", *map(str, words)]
    return subprocess.Popen(
        command, env={**ENV, **(env or {})}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def ended(process: "subprocess.Popen[str]") -> tuple[int, str, str]:
    """Wait for a process: its exit code, and what it said on stdout and stderr."""
    try:
        out, err = process.communicate(timeout=LIMIT)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        raise
    return process.returncode, out, err


def run(*words: str | Path, env: dict[str, str] | None = None) -> tuple[int, str, str]:
    """Run ``lowerbound`` to its end."""
    return ended(begin(*words, env=env))


def interrupt(process: "subprocess.Popen[str]", moment: Callable[[], object], number: int) -> tuple[int, str, str]:
    """Send a signal as soon as the moment has come, and wait for the end."""
    at(process, moment)
    process.send_signal(number)
    return ended(process)


def at(process: "subprocess.Popen[str]", moment: Callable[[], object]) -> None:
    """Wait for the moment; the process must still be at work then."""
    deadline = time.monotonic() + LIMIT
    select.select([process.stdout], [], [], LIMIT)  # there is nothing to be seen before its first word
    while not moment():
        if process.poll() is not None or time.monotonic() > deadline:
            process.kill()
            out, err = process.communicate()
            raise AssertionError(f"The moment never came; exit code {process.returncode}.\n{out}\n{err}")
        time.sleep(0.0005)


def killed(process: "subprocess.Popen[str]", moment: Callable[[], object]) -> None:
    """Kill a process at a moment, so that it cannot tidy up."""
    assert interrupt(process, moment, signal.SIGKILL)[0] == -signal.SIGKILL


def rows(path: Path) -> list[dict[str, Any]]:
    """The whole rows of a run's history so far."""
    file = path / "history.jsonl"
    return [json.loads(line) for line in file.read_bytes().split(b"\n")[:-1]] if file.exists() else []


def saved(path: Path) -> list[int]:
    """The steps of a run's checkpoints, in order."""
    folder = path / "checkpoints"
    return sorted(int(p.name) for p in folder.iterdir() if p.name.isdigit()) if folder.exists() else []


def tree(path: Path) -> dict[str, bytes]:
    """Every file in a folder, but the locks."""
    return {str(p.relative_to(path)): p.read_bytes() for p in sorted(path.rglob("*")) if p.is_file()}


def metrics(path: Path) -> dict[str, Any]:
    """The figures of a run, as they stand in its directory."""
    found: dict[str, Any] = json.loads((path / "metrics.json").read_bytes())
    return found


def picture(path: Path) -> tuple[int, int]:
    """Open a picture, decode it whole, and give its size; it must show something."""
    with Image.open(path) as image:
        pixels = np.asarray(image.convert("L"))
    assert pixels.std() > 1
    return pixels.shape[1], pixels.shape[0]


def call(*words: str | Path) -> int:
    """Run the command line in this process: its exit code; what is process-wide is put back afterwards."""
    from lowerbound.cli import main

    log, denormal = logging.getLogger("lowerbound"), torch.finfo(torch.float32).tiny / 2
    handlers, level, threads = log.handlers[:], log.level, torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return main([str(word) for word in words])
    except SystemExit as stop:  # argparse's own
        return int(stop.code or 0)
    finally:
        log.handlers[:], log.level = handlers, level
        torch.set_num_threads(threads)
        torch.set_flush_denormal(False)
        assert torch.tensor(denormal) * 1 != 0
