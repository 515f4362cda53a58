"""This process: what is set in it for speed, what it runs on, and what it was called as.

Nothing is set by an import: the command line does it at its start.
"""

import ctypes
import os
import platform
import shlex
import shutil
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import torch

from lowerbound.omp import waiting

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of glibc's malloc.h


def tune(threads: int | None = None, deterministic: bool = False) -> dict[str, object]:
    """Set the allocator, denormals, threads and kernels of this process, and say what was set.

    glibc returns large blocks to the system at once, so that each step faults the same pages in again; keeping them
    is worth a third of a convolutional step. Denormal numbers slow arithmetic forty-fold; they are flushed to zero.
    ``deterministic`` asks for torch's own deterministic kernels, and for none of `lowerbound.strided`.

    Example:
        >>> sorted(tune())
        ['allocator', 'deterministic', 'flush_denormal', 'threads', 'waiting']
    """
    if torch.get_deterministic_debug_mode() != (2 if deterministic else 0):  # 1 warns only; to set it loads a compiler
        torch.use_deterministic_algorithms(deterministic)
    if threads is not None:
        torch.set_num_threads(threads)
    kept = False
    if sys.platform == "linux":
        mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # musl has none
        kept = mallopt is not None and all(mallopt(m, 1 << 30) == 1 for m in (M_MMAP_THRESHOLD, M_TRIM_THRESHOLD))
    return {
        "allocator": "keeps freed blocks up to 1 GiB" if kept else "the system's",
        "deterministic": deterministic,
        "flush_denormal": torch.set_flush_denormal(True),
        "threads": torch.get_num_threads(),
        "waiting": waiting(),
    }


def precision(device: torch.device) -> Literal["float32", "bfloat16"]:
    """Choose the faster precision of a training step: bfloat16 where the device multiplies it in hardware.

    On a processor that has to emulate it bfloat16 is the slower one. What it does to the elbo is measured, see
    benchmarks/README.md.

    Example:
        >>> precision(torch.device("cpu")) in ("float32", "bfloat16")
        True
    """
    if device.type == "cuda":
        there = torch.cuda.is_bf16_supported(including_emulation=False)
    elif device.type == "cpu":
        able = torch.cpu.get_capabilities()
        there = bool(able.get("avx512_bf16") or able.get("amx_bf16"))
    else:
        there = False
    return "bfloat16" if there else "float32"


def environment() -> dict[str, Any]:
    """Say what a run is made with: versions, machine and threads."""
    packages = ("lowerbound", "torch", "numpy", "safetensors", "matplotlib", "pillow")
    return {
        "versions": {"python": platform.python_version(), **{name: version(name) for name in packages}},
        "machine": {"system": platform.platform(), "processor": processor(), "cores": os.cpu_count()},
        "threads": torch.get_num_threads(),
        "command": "python: lowerbound.fit",  # the command line puts its own words here
        "started": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
    }


def processor() -> str:
    """Name the processor as the system does."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def program() -> str:
    """Name the program as it can be called again from here: its path where the PATH does not find it."""
    called = Path(sys.argv[0])
    found = shutil.which("lowerbound")
    if called.name != "lowerbound" or not called.exists() or (found and called.samefile(found)):
        return "lowerbound"
    path, here = Path(os.path.abspath(called)), Path.cwd()
    return shlex.quote(os.path.join(".", path.relative_to(here)) if path.is_relative_to(here) else str(path))
