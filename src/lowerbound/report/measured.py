"""The figures: as cards, as a table, over the training, and how to read them."""

import math
from collections.abc import Sequence
from html import escape
from typing import Any

from lowerbound import figures
from lowerbound.metrics import headline
from lowerbound.metrics.aggregate import ACTIVE, FLOOR
from lowerbound.report.content import SCHEDULED, Content
from lowerbound.report.markup import course_of, finite, framed, plain
from lowerbound.words import counted, duration, number

WEIGHED = {*SCHEDULED, "gamma"}  # what a step was weighed by: no measure of the split


def cards(c: Content) -> str:
    """Give the first figures as cards."""
    m, seconds = c.measured, c.metrics.get("seconds") or {}
    cards = [_measure_card(c, name, i == 0) for i, name in enumerate(headline(m))]
    for name, letter in SCHEDULED.items():
        if found := c.metrics.get(name):
            asked, reached = found.get("asked"), found.get("reached")
            under = _under(c, name) if asked == reached else f"of the {plain(asked)} asked"
            cards.append(_card(letter, plain(reached), under))
    if m.get("active") is not None:
        cards.append(_card("latents in use", f"{m['active']:,}", f"of {m.get('latents', '?')}, {_others(c)}"))
    if sigma := c.metrics.get("sigma"):
        cards.append(_card("σ of p(x|z)", plain(sigma.get("value")), str(sigma.get("kind"))))
    if seconds.get("training") is not None:
        cards.append(_card("training", duration(seconds["training"]), "evaluation not counted"))
    # rows of the same length, or nearly: five and a last one alone look like a mistake
    across = math.ceil(len(cards) / math.ceil(len(cards) / 4)) if cards else 0
    return f'<section class="cards" style="--across:{across}">{"".join(cards)}</section>' if cards else ""


def _under(c: Content, name: str) -> str:
    """Say what β or C is: the end of a schedule, or the same all along."""
    begun, ended = course_of(c, name)
    if (c.metrics.get(name) or {}).get("adaptive"):
        return "where it was moved to"
    if begun != ended:
        return "end of its schedule"
    rate = "weight of −log p(z)" if c.pointlike else "weight of the rate"
    return {"beta": rate, "lambda": "weight of the distortion", "capacity": "nats of rate"}[name]


def _others(c: Content) -> str:
    """Say in a few words what the latents are that are not in use."""
    if c.hardly_begun:
        return f"after {counted(c.steps or 0, 'step')}"
    lost, flat = (len(c.measured.get(state) or ()) for state in ("collapsed", "constant"))
    if not c.kl_known:
        return "by the mean's variance alone"
    return f"{lost} collapsed" + (f", {flat} constant" if flat else "")


def _measure_card(c: Content, name: str, main: bool) -> str:
    error = (c.measured.get("standard_error") or {}).get(name)
    under = "nats" if error is None else f"± {number(error)} nats"
    return _card(f"{c.split} {name}", number(c.measured[name]), under, main)


def _card(label: str, value: str, under: str, main: bool = False) -> str:
    kind = "card main" if main else "card"
    return f'<div class="{kind}"><span>{escape(label)}</span><b>{escape(value)}</b><small>{escape(under)}</small></div>'


def table(c: Content) -> str:
    """Give all figures of each split as a table."""
    splits = [s for s in ("test", "validation") if c.metrics.get(s)]
    if not splits:
        return ""
    names = {n: "bits per dimension" if n == "bits_per_dimension" else n for n in _measured(c, splits)}
    rows = "".join(
        f"<tr><td>{escape(names[name])}</td>{''.join(_cell(c.metrics[s], name) for s in splits)}</tr>" for name in names
    )
    counts = "".join(f"<td>{number(c.metrics[s].get('images'), 0)}</td>" for s in splits)
    rows += f"<tr><td>{c.noun}</td>{counts}</tr>"
    head = "".join(f"<th>{s}</th>" for s in splits)
    bits = "; bits are for each pixel and channel" if "bits_per_dimension" in names else ""
    return f"""<h2>Measured</h2><p>In nats for each of the {c.noun}, ± the standard error of the mean{bits}.</p>
<div class="wide"><table><thead><tr><th></th>{head}</tr></thead><tbody>{rows}</tbody></table></div>"""


def _measured(c: Content, splits: Sequence[str]) -> list[str]:
    """Name what was measured: the ledger and the loss first, then the plain values of the terms."""
    first = [
        name for name in ("elbo", "bound", "distortion", "rate", "loss") if any(name in c.metrics[s] for s in splits)
    ]
    others = [name for s in splits for name, value in c.metrics[s].items() if isinstance(value, float)]
    return [*first, *dict.fromkeys(name for name in others if name not in {*first, *WEIGHED})]


def _cell(found: dict[str, Any], name: str) -> str:
    error = (found.get("standard_error") or {}).get(name)
    digits = 4 if name == "bits_per_dimension" else 2
    return f"<td>{number(found.get(name), digits)}{'' if error is None else f' <small>± {number(error)}</small>'}</td>"


def training(c: Content) -> str:
    """Draw the curves of the training."""
    if not any(finite(r.get(k)) for r in c.history for k in ("elbo", "distortion", "rate")):
        return "<h2>The training</h2><p>No step was logged.</p>"
    what = "distortion and loss" if c.pointlike else "elbo, distortion and rate"
    drawing = figures.svg(figures.curves(c.history), f"{what} over the training")
    caption = "Each training point is the mean of the steps since the last; each validation point is the whole split."
    return f"<h2>The training</h2>{framed(drawing, '', caption)}"


def reading(c: Content) -> str:
    """Say what the words of the page mean."""
    if c.pointlike:
        return _reading_of_a_point(c)
    weighed = (
        c.metrics.get("beta") and "<p><b>β</b> weighs the rate in what is minimised, distortion + β · rate. The elbo "
    )
    density = (c.metrics.get("likelihood") or {}).get("density")
    meaning = {
        True: "a lower bound of the log-likelihood",
        False: "here a score and not a bound, see the box above",
        None: "a lower bound of the log-likelihood only where the model's p(x|z) is a density, which is not known here",
    }[density]
    formula = "log p(x) ≥ elbo" if density else "elbo"
    weighed = f"{weighed}above is always that of β = 1, so that runs with different β compare.</p>" if weighed else ""
    return f"""<h2>How to read this page</h2>
<p class="formula">{formula} = −(distortion + rate)
= E<sub>q(z|x)</sub>[log p(x|z)] − KL(q(z|x) ‖ p(z))</p>
<p><b>Distortion</b> is what is lost on the way through the latents: −log p(x|z) of an input under its own code. Lower
means closer reconstructions. <b>Rate</b> is what the latents tell about the input, in nats (1 nat = 1.44 bits). The
<b>elbo</b> is {meaning}: higher is better. The ± is one standard error of the mean over the split.
It says nothing of the seed of weights and noise: <code>lowerbound train --seeds 3</code> shows that spread.</p>
<p>A latent is <b>in use</b> where its mean varies over the inputs (variance above {ACTIVE}) and its KL is {FLOOR} nats
or more. It has <b>collapsed</b> where its KL is lower: its posterior is then the prior, whatever the input is. It is
<b>constant</b> where its KL is not, but its mean does not vary: it costs rate and says nothing of the input.</p>
{weighed}"""


def _reading_of_a_point(c: Content) -> str:
    return f"""<h2>How to read this page</h2>
<p><b>Distortion</b> is what is lost on the way through the code: −log p(x|z) of an input under its own code. Lower
means closer reconstructions. The <b>loss</b> is what was minimised: the distortion and the penalties that the recipe
adds. The ± is one standard error of the mean over the split.</p>
<p>A latent is <b>in use</b> where its code varies over the inputs (variance above {ACTIVE}).</p>
"""
