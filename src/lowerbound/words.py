"""Numbers in words for people: what the command line, the page and the card have in common."""

import math
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


def with_error(value: float, error: float | None) -> str:
    """Write a figure to two decimals, or up to five where these show three digits of a small error; a real minus.

    Example:
        >>> with_error(-101.2345, 0.31), with_error(0.1704, 0.00312), with_error(4.09434, 1e-9)
        ('−101.23 ± 0.31', '0.17040 ± 0.00312', '4.09434 ± <0.00001')
    """
    small = error is not None and 0 < error < 0.1
    decimals = min(5, 2 - math.floor(math.log10(error))) if small and error else 2
    if error is None:
        return f"{value:.2f}".replace("-", "−")
    shown = "<0.00001" if 0 < error < 5e-6 else f"{error:.{decimals}f}"
    return f"{value:.{decimals}f} ± {shown}".replace("-", "−")


def p_value(p: float) -> str:
    """Write the p of a test: below what its arithmetic resolves, a bound.

    Example:
        >>> p_value(0.0123), p_value(0.0)
        ('p = 0.012', 'p < 1e-16')
    """
    return "p < 1e-16" if p < 1e-16 else f"p = {p:.2g}"
