"""The run told in a few sentences."""

from html import escape
from typing import Any

from lowerbound.metrics import fitted_note
from lowerbound.report.content import SCHEDULED, Content
from lowerbound.report.latents import usage
from lowerbound.report.markup import course_of, finite, plain
from lowerbound.words import counted, number


def story(c: Content) -> str:
    """Tell what was trained, how it went and what became of the latents."""
    text = [_what(c), _fitted(c), _course(c), *usage(c)]
    return f'<section class="prose">{"".join(f"<p>{escape(t)}</p>" for t in text if t)}</section>'


def _what(c: Content) -> str:
    images, latents, size = c.data.get("images") or {}, c.spec.get("latents"), c.metrics.get("parameters")
    parts = [counted(latents, "latent")] if latents else []
    parts += [f"{size:,} parameters"] if size else []
    kind = "An autoencoder" if c.pointlike else "A variational autoencoder"
    model = kind + (f" with {' and '.join(parts)}" if parts else "")
    seen = f" on {counted(images['train'], c.noun[:-1])}" if images.get("train") else ""
    named = f" of {c.data['name']}" if c.data.get("name") else ""
    first = f"{model} was trained{seen}{named}{_shape(c)}{'' if c.unfinished else _length(c)}."
    weights, count = c.metrics.get("weights") or {}, c.measured.get("images")
    if c.unfinished:
        return f"{first} The training has not ended: all that is shown is of its newest checkpoint, {_step(weights)}."
    if not count:
        return f"{first} There are no figures of a held-out split."
    which = {"best": "the weights that did best on validation", "last": "the last weights"}.get(
        weights.get("which", ""), "the weights"
    )
    which += f" ({step})" if (step := _step(weights)) else ""
    which += ", as an exponential moving average" if weights.get("ema") else ""
    return f"{first} The figures above are means over {counted(count, f'{c.split} {c.noun[:-1]}')} with {which}."


def _step(weights: dict[str, Any]) -> str:
    return f"step {weights['step']:,}" if isinstance(weights.get("step"), int) else ""


def _fitted(c: Content) -> str:
    """Say that the prior is not that of the training, and what each of the two gives."""
    fit = c.metrics.get("fit")
    if not fit:
        return ""
    text = f"After the training a prior was fitted to the codes ({fit['kind']}), and took the place of the one before: "
    text += "samples are drawn from it"
    both = fit.get(c.split)
    if not both:
        return f"{text}."
    old, new = both["trained"], both["fitted"]
    text += (
        ", and the elbo, the rate and the loss above are under it" if "elbo" in new else ", and the loss is under it"
    )
    if "elbo" in new:
        text += f". Under the prior of the training the {c.split} elbo is {number(old['elbo'])} nats"
    text += f". The mean log density of the held-out codes is {number(new['log_p'])} nats under the fitted prior "
    text += f"and {number(old['log_p'])} nats under that of the training."
    if not fit.get("exact", True):
        text += " Its log density has no closed form; it is estimated from below, and the elbo stays a lower bound."
    return " ".join([text, *fitted_note(c.measured, fit["kind"])[1:]])


def _shape(c: Content) -> str:
    shape = list(c.data.get("shape") or ())
    if len(shape) != 3:
        return f" ({counted(shape[0], 'number')} each)" if len(shape) == 1 else ""
    kind = {1: "grey", 3: "colour", 4: "colour and opacity"}.get(shape[0], f"{shape[0]} channels")
    return f" ({shape[2]}×{shape[1]} pixels, {kind})"


def _length(c: Content) -> str:
    if not c.history:
        return ""
    last = max(c.history, key=lambda r: r.get("step") or 0)
    steps, epochs = last.get("step") or 0, last.get("epoch")
    return f" for {counted(steps, 'step')}" + (
        f" ({number(epochs, 1 if epochs >= 1 else 2)} epochs)" if isinstance(epochs, int | float) else ""
    )


def _course(c: Content) -> str:
    """Say how it went, from the validation rows; the objective is the judge where β was no constant."""
    rows = [r for r in c.history if r.get("split") == "validation" and finite(r.get("elbo"))]
    if c.pointlike:
        return _course_of_a_point(c)
    if len(rows) < 2:
        return "There are too few validations to say how it went." if c.history else ""
    first, last, best = rows[0], rows[-1], max(rows, key=lambda r: r["elbo"])
    way = "rose" if last["elbo"] >= first["elbo"] else "fell"
    text = f"From the first validation to the last the elbo {way} {_from_to(first, last, 'elbo')} nats: "
    text += f"distortion {_from_to(first, last, 'distortion')}, rate {_from_to(first, last, 'rate')}."
    courses = {name: course_of(c, name) for name in SCHEDULED}
    for name, (begun, ended) in courses.items():
        if begun != ended:
            text += f" Meanwhile {SCHEDULED[name]} went from {plain(begun)} to {plain(ended)}."
    drop = best["elbo"] - last["elbo"]
    if drop > max(0.5, 0.005 * abs(best["elbo"])):
        text += f" It was best at step {best['step']:,} and lost {number(drop, 1)} nats after that: "
        text += f"{_why_it_fell(courses)}."
    return text


def _course_of_a_point(c: Content) -> str:
    """Say how it went where there is no elbo: by the distortion."""
    rows = [r for r in c.history if r.get("split") == "validation" and finite(r.get("distortion"))]
    if len(rows) < 2:
        return "There are too few validations to say how it went."
    way = "fell" if rows[-1]["distortion"] <= rows[0]["distortion"] else "rose"
    return (
        f"From the first validation to the last the distortion {way} {_from_to(rows[0], rows[-1], 'distortion')} nats."
    )


def _why_it_fell(courses: dict[str, tuple[float, float]]) -> str:
    """Name what can have lowered the elbo on validation: too long a training, or the term that was minimised."""
    longer = "longer training fits the training split only"
    (begun, beta), (_, capacity) = courses["beta"], courses["capacity"]
    if capacity:
        return f"{longer}, or the loss, which holds the rate at C and not where the elbo is best, gave up some of it"
    if beta > begun:
        return f"{longer}, or a growing β traded the elbo for a lower rate"
    return longer if beta in (0.0, 1.0) else f"{longer}, or β, which weighs the rate in the loss, gave up some of it"


def _from_to(a: dict[str, Any], b: dict[str, Any], key: str) -> str:
    return f"from {number(a.get(key), 1)} to {number(b.get(key), 1)}"
