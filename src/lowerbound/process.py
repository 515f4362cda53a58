"""What is process-wide and makes training faster; set by the command line at its start, never by an import."""

import ctypes
import sys
from typing import Literal

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
