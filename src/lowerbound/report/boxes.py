"""What a reader must know before the figures: no likelihood, no elbo, a schedule cut short, notes on the data."""

import math
import re
from html import escape
from typing import Any

from lowerbound.report.content import SCHEDULED, Content
from lowerbound.report.markup import box, listed, plain, verb
from lowerbound.words import counted

# notes on the data that a reader should look into; the others say what was done
WARNS = re.compile(r"^(?!Made by code).*(\bnot\b|\bthough\b|reduced from|with transparency|could not)|^Left out")
CROSS_ENTROPY = (
    "<p>Cross-entropy on pixels between 0 and 1 is not a likelihood: the number compares only with other runs of the "
    "same kind. For one that is, take <code>--set model.likelihood.kind=continuous-bernoulli</code>, "
    "<code>--recipe sigma-vae</code> (for photographs) or <code>--binarise dynamic</code>.</p>"
)
POINT = (
    "<p>The posterior of this model is a point: each input has one code, without a spread. A point has no density, so "
    "that there is no rate, no elbo and no log p(x) to be bounded; what is measured is the distortion. Samples are "
    "drawn from the prior, and are as good as the recipe has pulled the codes towards it.</p>"
)


def boxes(c: Content) -> str:
    """Give the boxes that suit the run, but for what a finding says in its own."""
    some = []
    told = {finding["name"] for split in c.evaluation.values() for finding in split.get("findings", ())}
    if c.unfinished and "training that has not ended" not in told:
        again = "Go on with it by the first command below, or measure it: lowerbound evaluate."
        some.append(box("This training has not ended", f"<p>{escape(again)}</p>"))
    likelihood = c.metrics.get("likelihood") or {}
    if likelihood.get("density") is False and "likelihood that does not fit the data" not in told:
        found = ": ".join(str(likelihood[k]) for k in ("name", "note") if likelihood.get(k)).rstrip(".")
        what = "This distortion is no −log p(x|z)" if c.pointlike else "This elbo is not a bound of log p(x)"
        some.append(box(what, f"<p>{escape(found)}.</p>{CROSS_ENTROPY}"))
    some += [box("There is no elbo here", POINT, "box plain")] if c.pointlike else []
    if not c.unfinished and "warm-up that never ended" not in told:
        some += [_schedule_box(letter, c.metrics.get(name) or {}) for name, letter in SCHEDULED.items()]
    return "".join([*some, *_data_boxes(c)])


def _data_boxes(c: Content) -> list[str]:
    """Say what happened to the data: what may be wrong in a box that warns, what was merely done in a plain one."""
    notes, bad = [str(n) for n in c.data.get("notes") or ()], list(c.data.get("unreadable") or ())
    unread = [found for n in notes if bad and (found := re.match(r"([\d,]+) files? could not be read:", n))]
    notes = [n for n in notes if n not in {found.string for found in unread}]  # the list below names the same files
    inner = listed([n for n in notes if WARNS.search(n)])
    if bad:
        count = int(unread[0][1].replace(",", "")) if unread else len(bad)  # the list is cut where it is very long
        inner += f"<p>{counted(count, 'file')} could not be read and {verb(count, 'was', 'were')} left out:</p>"
        inner += listed(bad, 20, count)
    plain = listed([n for n in notes if not WARNS.search(n)])
    boxes = [box("To check in the data", inner)] if inner else []
    return boxes + ([box("About the data", plain, "box plain")] if plain else [])


def _schedule_box(letter: str, found: dict[str, Any]) -> str:
    """Say where β or C ended short of what was asked for, or the weights are from before it came there."""
    asked, reached = found.get("asked"), found.get("reached")
    if asked is None or reached is None:
        return ""
    chosen = found.get("chosen", reached)
    short, early = (not math.isclose(asked, value, rel_tol=1e-3) for value in (reached, chosen))
    text = f"{letter} reached {plain(reached)} of the {plain(asked)} that was asked for."
    text += f" The weights shown here are from a step at which it was {plain(chosen)}." if chosen != reached else ""
    title = "The schedule did not reach its end" if short else "The weights are from before the schedule's end"
    return box(title, f"<p>{escape(text)}</p>") if short or early else ""
