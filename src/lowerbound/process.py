"""What is process-wide and makes training faster; set by the command line at its start, never by an import."""

import ctypes
import sys

import torch

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of glibc's malloc.h


def tune(threads: int | None = None) -> dict[str, object]:
    """Set the allocator, denormals and threads of this process, and say what was set.

    glibc returns large blocks to the system at once, so that each step faults the same pages in again; keeping them
    is worth a third of a convolutional step. Denormal numbers slow arithmetic forty-fold; they are flushed to zero.

    Example:
        >>> sorted(tune())
        ['allocator', 'flush_denormal', 'threads']
    """
    if threads is not None:
        torch.set_num_threads(threads)
    kept = False
    if sys.platform == "linux":
        mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # musl has none
        kept = mallopt is not None and all(mallopt(m, 1 << 30) == 1 for m in (M_MMAP_THRESHOLD, M_TRIM_THRESHOLD))
    return {
        "allocator": "keeps freed blocks up to 1 GiB" if kept else "the system's",
        "flush_denormal": torch.set_flush_denormal(True),
        "threads": torch.get_num_threads(),
    }
