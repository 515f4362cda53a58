"""What the benchmarks share: contenders in processes of their own that take turns, and results with their origin.

A contender is a function of `contenders` that gives a function of one round, which gives seconds. Each lives in a
process of its own, since allocator, threads and denormals belong to a process, and what one library sets must not help
or harm another. They take turns: this kind of machine was seen to change its speed by a factor of two between minutes.
"""

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
FLAGS = ("avx2", "avx512f", "avx512_bf16", "amx_bf16")


class Contender:
    """A function of `contenders` at work in its own process; each `round` gives what one round of it took."""

    def __init__(self, name: str, **arguments: Any) -> None:
        self.name = name
        command = [sys.executable, str(HERE / "contenders.py"), name, json.dumps(arguments)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.ready = self._answer()

    def round(self) -> dict[str, Any]:
        """Run one round and give what it measured."""
        print("go", file=self.process.stdin, flush=True)
        return self._answer()

    def close(self) -> None:
        """End the process."""
        self.process.communicate()

    def _answer(self) -> dict[str, Any]:
        for line in self.process.stdout or ():
            if line.startswith("RESULT "):
                answer: dict[str, Any] = json.loads(line.removeprefix("RESULT "))
                return answer
        raise SystemExit(f"{self.name} ended with exit code {self.process.wait()}.")


def alternate(contenders: Mapping[str, Contender], rounds: int, warm: bool = True) -> dict[str, list[dict[str, Any]]]:
    """Let all contenders run a round each, in turn, ``rounds`` times, after one that is not counted if ``warm``."""
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in contenders}
    for r in range(rounds + warm):
        for name, contender in contenders.items():
            answer = contender.round()
            if r or not warm:
                found[name].append(answer)
            shown = {key: value for key, value in answer.items() if key != "each"}
            print(f"  round {r} {name}: {shown}", file=sys.stderr, flush=True)
    for contender in contenders.values():
        contender.close()
    return found


def spread(values: Iterable[float]) -> dict[str, Any]:
    """Give median, least and most of some values, and the values."""
    each = [float(f"{value:.5g}") for value in values]
    return {"median": statistics.median(each), "least": min(each), "most": max(each), "each": each}


def ratio(a: Iterable[float], b: Iterable[float]) -> dict[str, Any]:
    """Give the ratios a/b round by round, so that a machine that changes its speed between rounds changes none."""
    return spread(x / y for x, y in zip(a, b, strict=True))


def machine() -> dict[str, Any]:
    """Say on what, with what and when this was measured."""
    import torch

    from lowerbound.process import environment

    found = environment()
    words = Path("/proc/cpuinfo").read_text().split() if Path("/proc/cpuinfo").exists() else []
    found["flags"] = [flag for flag in FLAGS if flag in words]
    found["threads"] = torch.get_num_threads()
    found["command"] = " ".join(["python", os.path.relpath(sys.argv[0], HERE.parent), *sys.argv[1:]])
    return found


def save(name: str, content: Mapping[str, Any]) -> None:
    """Write results/<name>.json with the machine and the time, and print it."""
    path = HERE / "results" / f"{name}.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps({"env": machine(), **content}, indent=1) + "\n")
    print(json.dumps(content, indent=1))
    print(f"{path}, {time.strftime('%H:%M:%S')}")
