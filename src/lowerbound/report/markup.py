"""Small pieces of the page, and what several of its parts ask of a run."""

import math
from collections.abc import Sequence
from html import escape
from typing import Any

from lowerbound.report.content import Content


def course_of(c: Content, name: str) -> tuple[float, float]:
    """Give where a schedule began and ended; validation rows do not tell, they are weighed as at its end."""
    values = [r[name] for r in c.history if r.get("split") == "train" and finite(r.get(name))]
    return (values[0], values[-1]) if values else (0.0, 0.0)


def names(some: list[int]) -> str:
    """Name some latents, at most twelve of them."""
    return ", ".join(f"z{i}" for i in some[:12]) + (f" and {len(some) - 12} more" if len(some) > 12 else "")


def verb(n: int, one: str, many: str) -> str:
    """Choose the verb by the number."""
    return one if n == 1 else many


def weight_of(c: Content, name: str) -> float:
    """Give β or C as it was at the step of the weights that are shown; 0 where there is none."""
    found = c.metrics.get(name) or {}
    value = found.get("chosen", found.get("reached"))
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else 0.0


def box(title: str, inner: str, kind: str = "box") -> str:
    """Give a box with a title; what is inside is HTML already."""
    return f'<aside class="{kind}"><h3>{escape(title)}</h3>{inner}</aside>'


def listed(items: Sequence[Any], most: int = 50, count: int = 0) -> str:
    """Give a list of the first items, and say how many more there are of ``count``, or of those given."""
    count = max(count, len(items))
    lines = [str(i) for i in items[:most]] + ([f"and {count - most:,} more"] if count > most else [])
    return f"<ul>{''.join(f'<li>{escape(line)}</li>' for line in lines)}</ul>" if lines else ""


def framed(inner: str, title: str, caption: str, *, text: bool = False) -> str:
    """Give a drawing or an image as a figure with title and caption; one with ``text`` does not shrink to a phone."""
    head = f"<h3>{escape(title)}</h3>" if title else ""
    kind = "paper chart" if inner.startswith("<svg") else "paper text" if text else "paper"
    return f'<figure>{head}<div class="{kind}">{inner}</div><figcaption>{escape(caption)}</figcaption></figure>'


def terms(values: dict[str, Any]) -> str:
    """Give a mapping as a list of terms."""
    return f"<dl>{''.join(f'<dt>{escape(str(k))}</dt><dd>{escape(value_of(v))}</dd>' for k, v in values.items())}</dl>"


def value_of(value: Any) -> str:
    """Write a JSON value for people."""
    if isinstance(value, dict):
        return ", ".join(f"{k} {value_of(v)}" for k, v in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(value_of(v) for v in value[:50]) + (f" and {len(value) - 50} more" if len(value) > 50 else "")
    return (
        {None: "none", True: "yes", False: "no"}.get(value, str(value))
        if value is None or isinstance(value, bool)
        else str(value)
    )


def finite(value: Any) -> bool:
    """Whether it is a number, and finite."""
    return isinstance(value, int | float) and math.isfinite(value)


def plain(value: Any) -> str:
    """Write a number of unknown size with four digits."""
    return f"{value:.4g}".replace("-", "−") if isinstance(value, int | float) else "–"
