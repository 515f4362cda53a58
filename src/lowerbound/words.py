"""Numbers and things in words for people: what the command line, the page and the card have in common."""

import math
from collections.abc import Sequence
from typing import Any

ONE_IMAGE = "Give one image: --image ROW of the held-out images, or --file IMAGE."


def number(value: Any, digits: int = 2) -> str:
    """Write a number for people: a real minus, commas, and a dash where there is none.

    Example:
        >>> number(-1234.5), number(None), number(16, 0), number(float("nan"))
        ('−1,234.50', '–', '16', 'not finite')
    """
    if not isinstance(value, int | float):
        return "–"
    if not math.isfinite(value):
        return "not finite"
    return f"{value:,.{digits}f}".replace("-", "−")


def duration(seconds: float) -> str:
    """Write a time for people.

    Example:
        >>> duration(12.34), duration(75), duration(7260)
        ('12.3 s', '1 min 15 s', '2 h 1 min')
    """
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def counted(number: float, name: str) -> str:
    """Count things in words: 1 epoch, 0.5 epochs, 1,000 steps.

    Example:
        >>> counted(1, "image"), counted(2000, "image"), counted(0.5, "epoch")
        ('1 image', '2,000 images', '0.5 epochs')
    """
    text = f"{number:,}" if isinstance(number, int) else f"{number:g}"
    return f"{text} {name}{'' if number == 1 else 's'}"


def noun(shape: Sequence[int]) -> str:
    """Say what the data of a shape are called: vectors are no images.

    Example:
        >>> noun((1, 28, 28)), noun((3,))
        ('images', 'examples')
    """
    return "images" if len(shape) == 3 else "examples"


def with_error(value: float, error: float | None) -> str:
    """Write a figure as `number` does, to two decimals, or up to five where an error below 0.01 has two digits by them.

    An error that these decimals show as zero is left out.

    Example:
        >>> with_error(-101.2345, 0.31), with_error(24.1995, 0.0375), with_error(0.1704, 0.00312)
        ('−101.23 ± 0.31', '24.20 ± 0.04', '0.1704 ± 0.0031')
        >>> with_error(0.286, 1e-9), with_error(-22546.86, 105.164)
        ('0.29', '−22,546.86 ± 105.16')
    """
    small = error is not None and 0 < error < 0.01
    decimals = min(5, 1 - math.floor(math.log10(error))) if small and error else 2
    if error is None or round(error, decimals) == 0:
        return number(value)
    return f"{number(value, decimals)} ± {number(error, decimals)}"


def p_value(p: float) -> str:
    """Write the p of a test: below what its arithmetic resolves, a bound.

    Example:
        >>> p_value(0.0123), p_value(0.0)
        ('p = 0.012', 'p < 1e-16')
    """
    return "p < 1e-16" if p < 1e-16 else f"p = {p:.2g}"
