"""What ``lowerbound evaluate`` found: the findings in words, and each measure with its table, notes and pictures."""

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from lowerbound.report.content import Content, Picture
from lowerbound.report.markup import box, listed
from lowerbound.report.pictures import shown


def findings(c: Content) -> str:
    """Give each finding as a box: what it is, what shows it, and what to try."""
    boxes = []
    for split, found in c.evaluation.items():
        for finding in found.get("findings", ()):
            inner = f"<p>{escape(finding['evidence'])}</p><p>{escape(finding['advice'])}</p>"
            boxes.append(box(f"{finding['says']} ({split})", inner))
        if missed := found.get("unlooked"):
            boxes.append(box(f"Not looked for ({split})", listed(missed), "box plain"))
    return "".join(boxes)


def sections(c: Content) -> str:
    """Show what was measured of each split."""
    return "".join(_split(c, split, found["sections"]) for split, found in c.evaluation.items() if found["sections"])


def _split(c: Content, split: str, found: Mapping[str, Any]) -> str:
    parts = "".join(_section(c, name, section) for name, section in found.items())
    return f"<h2>Evaluated on the {escape(split)} split</h2>{parts}"


def _row(cells: Sequence[str], columns: int) -> str:
    """Give a row of a table; where it has fewer cells than others its last one is as wide as what is left."""
    wide = f' colspan="{columns - len(cells) + 1}"' if len(cells) < columns else ""
    *others, last = (escape(cell) for cell in cells)
    return f"<tr>{''.join(f'<td>{cell}</td>' for cell in others)}<td{wide}>{last}</td></tr>"


def _section(c: Content, name: str, section: Mapping[str, Any]) -> str:
    if "refused" in section:
        return f"<h3>No {escape(name)}</h3><p>{escape(section['refused'])}</p>"
    columns = max(map(len, section["rows"]), default=0)
    rows = "".join(_row(row, columns) for row in section["rows"])
    table = f'<div class="wide"><table class="words"><tbody>{rows}</tbody></table></div>' if rows else ""
    notes = "".join(f'<p class="note">{escape(note)}</p>' for note in section["notes"])
    pictures = [Picture(p["title"], p["caption"], Path(c.figures) / p["file"]) for p in section["pictures"]]
    return f"<h3>{escape(section['title'])}</h3>{table}{notes}{shown(c, pictures, text=True)}"
