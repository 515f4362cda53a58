"""The page of a comparison or a sweep: one file, whose points and table lead to the runs' own reports."""

import os
import re
from collections.abc import Mapping
from html import escape
from importlib import metadata
from pathlib import Path
from urllib.parse import quote

import torch
from matplotlib.figure import Figure

from lowerbound import figures, files, gallery, report
from lowerbound.comparison.rows import Row
from lowerbound.comparison.table import Comparison, summary
from lowerbound.errors import UsageError
from lowerbound.process import program
from lowerbound.report.markup import box, framed, listed
from lowerbound.report.pictures import image
from lowerbound.seeds import Group, word
from lowerbound.words import with_error

SHOWN = 10  # samples of each run
# a compact chart shrinks to a phone instead of scrolling; its points are the only links of a drawing
STYLE = """
.prose { margin-top: 1.4rem; }
.chart.links + figcaption::before { content: none; }
.links svg { min-width: 0; max-width: 36rem; }
.links a { pointer-events: all; outline-offset: 4px; }
.links a:hover use, .links a:focus-visible use { stroke: var(--ink); stroke-width: 2.5px; }
.links a:focus-visible { outline: 2px solid var(--ink); }
td a { display: inline-block; padding: .2rem 0; }
td:first-child { white-space: normal; overflow-wrap: anywhere; min-width: 9rem; }
td.long { white-space: normal; overflow-wrap: anywhere; min-width: 6rem; max-width: 18rem; }
"""
READING = """<h2>How to read this page</h2>
<p class="formula">elbo = −(distortion + rate)</p>
<p><b>Distortion</b> is what is lost on the way through the latents, <b>rate</b> what they tell about the input. A model
that spends more rate reconstructs more closely; the <b>elbo</b> counts both alike, whatever β weighed the rate in the
training. On a line of equal elbo two models differ only in how they share it out.</p>"""


def write_sweep(found: Comparison, group: Group) -> Path:
    """Write the pictures of a sweep into its folder, and the page with them; gives the page's path."""
    folder = group.folder
    (folder / "figures").mkdir(exist_ok=True)
    bars = f"{found.split}, nats per example; bars: {found.bars}"
    notes = {"curves": "every logged step", "samples": "noise of seed 0; the weights that each run's report names"}
    for name, drawn in pictures(found).items():
        figures.save(drawn, folder / "figures" / f"{name}.png", note=notes.get(name, bars))
    files.write(folder / "report.html", html(found, folder).encode())
    return folder / "report.html"


def pictures(found: Comparison) -> dict[str, Figure]:
    """Draw what can be drawn of a comparison: the curves, and of a sweep its curve, the elbo and samples."""
    drawn = {"curves": found.curves()}
    if points := found.points():
        drawn["rate-distortion"] = figures.rate_distortion(points, curve=found.over is not None)
        if found.over is not None:
            drawn["elbo"] = figures.elbo_over(points, _axis(found.over))
    if found.over is not None and all(gallery.is_image(row.first) for row in found.rows):
        drawn["samples"] = samples(found)
    return drawn


def samples(found: Comparison) -> Figure:
    """Draw the same latents of the prior through the model of each point, a row for each.

    The prior of each model is its own where it is learned, so that rows then share the noise and not the latents.
    """
    rows, names = [], []
    for row in found.rows:
        with torch.inference_mode():
            rows.append(row.first.model.sample(SHOWN, seed=0).cpu())
        names.append(row.name)
    return figures.traversal(torch.stack(rows), names)


def html(found: Comparison, base: Path) -> str:
    """Make the page that stands in the folder ``base``: links are relative to it."""
    title = "Comparison" if found.path is None else found.path.resolve().name
    if found.over is not None:
        values = [word(row.value) for row in found.rows]
        lead = [*found.common(), f"{_axis(found.over)} from {values[0]} to {values[-1]}"]
    else:
        lead = [*found.common(), f"{len(found.rows)} rows"]
    body = [_story(found), _warnings(found), _drawings(found, base), _table(found, base), _samples(found)]
    body += [_courses(found), _differences(found), READING, _commands(found)]
    return report.document(title, escape(" · ".join(lead)), "".join(body), metadata.version("lowerbound"), STYLE)


def _axis(over: str) -> str:
    return "β" if over == "beta" else over


def _story(found: Comparison) -> str:
    text = summary(found)
    return f'<section class="prose"><p>{escape(text)}</p></section>' if text else ""


def _warnings(found: Comparison) -> str:
    return box("What does not compare, and what is missing", listed(found.warnings)) if found.warnings else ""


def links_of(row: Row, base: Path) -> list[tuple[str, str]]:
    """Give (name, relative link) of each run of a row that has a report."""
    some = []
    for run in row.runs:
        page = run.path / "report.html"
        if page.exists():
            name = row.name if len(row.runs) == 1 else f"seed {run.spec['seed']}"
            some.append((name, quote(os.path.relpath(page.resolve(), base.resolve()).replace(os.sep, "/"))))
    return some


def _drawings(found: Comparison, base: Path) -> str:
    leads = {row.name: some[0][1] for row in found.rows if (some := links_of(row, base))}
    points = found.points(leads)
    if not points:
        return ""
    told = {point.link: _told(point) for point in points if point.link}
    orange = "" if all(point.begun for point in points) else " Orange: the best elbo."
    caption = f"Bars: {found.bars}.{orange} A point leads to the report of its run."
    caption += " A label that would cover another is left out."
    drawn = _linked(figures.rate_distortion(points, curve=found.over is not None), "rate and distortion", told)
    text = f"<h2>Rate and distortion</h2>{_chart(drawn, caption)}"
    if found.over is not None:
        name = _axis(found.over)
        drawn = _linked(figures.elbo_over(points, name), f"elbo over {name}", told)
        text += f"<h2>The elbo</h2>{_chart(drawn, caption)}"
    return text


def _told(point: figures.Point) -> str:
    parts = [f"{name} {figure_of(getattr(point, name))}" for name in ("elbo", "distortion", "rate")]
    return f"{point.label}: {', '.join(parts)} nats"


def figure_of(spread: tuple[float, float | None]) -> str:
    """Write a mean and its uncertainty."""
    return with_error(*spread)


def _linked(drawn: Figure, name: str, told: Mapping[str, str]) -> str:
    """Make a drawing whose points are links: each says what it is, and opens in the same window."""

    def link(match: re.Match[str]) -> str:
        text = escape(told[match[1]])
        return f'<a href="{match[1]}" aria-label="{text}"><title>{text}</title>'

    drawing = re.sub(r'<a href="([^"]*)"[^>]*>', link, figures.svg(drawn, name))
    return drawing.replace('role="img"', 'role="group"', 1)  # what is in a picture would be hidden from readers


def _chart(drawing: str, caption: str) -> str:
    return f'<figure><div class="paper chart links">{drawing}</div><figcaption>{escape(caption)}</figcaption></figure>'


def _table(found: Comparison, base: Path) -> str:
    heads, lines = found.table()
    head = "".join(f"<th>{escape(name)}</th>" for name in heads)
    rows = []
    for row, (_, *cells) in zip(found.rows, lines, strict=True):
        some = links_of(row, base)
        if len(some) == 1:
            first = f'<a href="{some[0][1]}">{escape(row.name)}</a>'
        else:
            first = escape(row.name) + "".join(f' <a href="{link}">{escape(what)}</a>' for what, link in some)
        rows.append(f"<tr><td>{first}</td>{''.join(f'<td>{escape(cell)}</td>' for cell in cells)}</tr>")
    return (
        f"<h2>Measured</h2><p>{escape(found.meaning)}</p>"
        f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{"".join(rows)}</tbody></table></div>'
    )


def _samples(found: Comparison) -> str:
    path = None if found.path is None else found.path / "figures" / "samples.png"
    if path is None or not path.exists():
        return ""
    caption = "Each row is one run; each column has the same noise, decoded by every run."
    return f"<h2>Samples</h2>{framed(image(report.Picture('New samples', caption, path)), '', caption)}"


def _courses(found: Comparison) -> str:
    drawing = figures.svg(found.curves(), "elbo, distortion and rate of all runs over the training")
    return f"<h2>The trainings</h2>{framed(drawing, '', 'One colour for each row of the table above.')}"


def _differences(found: Comparison) -> str:
    if len(found.differences) <= (found.over is not None):  # what a sweep varies stands in its table
        return ""
    head = "".join(f"<th>{escape(row.name)}</th>" for row in found.rows)
    cells = {key: "".join(map(_long, values)) for key, values in found.differences.items()}
    rows = "".join(f"<tr><td>{escape(key)}</td>{some}</tr>" for key, some in cells.items())
    return (
        "<h2>How their specs differ</h2>"
        f'<div class="wide"><table><thead><tr><th></th>{head}</tr></thead><tbody>{rows}</tbody></table></div>'
    )


def _long(value: object) -> str:
    return f'<td class="long">{escape(said(value))}</td>'


def said(value: object) -> str:
    """Write a value of a spec; a dash where it has none."""
    return "–" if value is None else word(value)


def _commands(found: Comparison) -> str:
    import shlex

    paths = [run.path for row in found.rows for run in row.runs] if found.path is None else [found.path]
    text = " ".join(shlex.quote(str(path)) for path in paths)
    some = [("the same as JSON", f"{program()} compare {text} --json")]
    if found.path is not None:
        some.append(("this page again", f"{program()} report {text}"))
    return report.commands(some)


def write(found: Comparison, path: Path) -> None:
    """Write a comparison as a page (.html), or its curves as a picture (.png); raises UsageError for another ending."""
    if path.suffix.lower() == ".png":
        figures.save(found.curves(), path, note="every logged step")
    elif path.suffix.lower() in (".html", ".htm"):
        files.write(path, html(found, path.parent).encode())
    else:
        raise UsageError(f"--out {path}: a page is written as .html, the curves as .png.")
