"""The report of a run: one HTML page with everything inside it, for a student, a researcher and an engineer."""

import base64
import contextlib
import hashlib
import io
import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from importlib import resources
from pathlib import Path
from typing import Any, final

from PIL import Image

from lowerbound import figures, files
from lowerbound.metrics import headline
from lowerbound.metrics.aggregate import ACTIVE, FLOOR
from lowerbound.words import counted, duration, number

WIDEST = 1800  # pixels of a picture in the page, which shows at most half as many; the run's folder keeps the whole
PICTURES = 3_000_000  # bytes of all pictures: base64 makes 4 MB of them, and the page stays below 5 MB
BEGUN = 200  # steps; before, a latent without a KL may still come into use, and no collapse is diagnosed
# notes on the data that a reader should look into; the others say what was done
WARNS = re.compile(r"\bnot\b|\bthough\b|^Left out|reduced from|with transparency|could not")
SCHEDULED = {"beta": "β", "lambda": "λ", "capacity": "C"}
WEIGHED = {*SCHEDULED, "gamma"}  # what a step was weighed by: no measure of the split
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
SCRIPT = """
for (const block of document.querySelectorAll(".command")) {
  const button = document.createElement("button");
  button.type = "button";
  button.textContent = "Copy";
  button.addEventListener("click", async () => {
    const code = block.querySelector("code");
    try {
      await navigator.clipboard.writeText(code.textContent);
      button.textContent = "Copied";
    } catch {
      getSelection().selectAllChildren(code);
      button.textContent = "Selected";
    }
    setTimeout(() => { button.textContent = "Copy"; }, 1500);
  });
  block.append(button);
}
"""


@final
@dataclass(frozen=True)
class Picture:
    """A picture of the report: a PNG file with its title and caption."""

    title: str
    caption: str
    path: Path | str


@final
@dataclass(frozen=True)
class Content:
    """Everything the report shows. Nothing of it is trusted: all text is escaped.

    Arguments:
        name: the run directory's name.
        path: the directory as the user typed it.
        spec, data, env, metrics: the run's JSON files; any key may be missing.
        history: the rows of history.jsonl.
        pictures: in the order of the page.
        commands: (what it does, command).
        citation: of the recipe.
        recipe: its name.
        evaluation: what was found of each split, as in evaluation.json.
        figures: the folder of the evaluation's pictures.
    """

    name: str
    path: str
    spec: dict[str, Any]
    data: dict[str, Any]
    env: dict[str, Any]
    history: list[dict[str, Any]]
    metrics: dict[str, Any]
    pictures: Sequence[Picture] = ()
    commands: Sequence[tuple[str, str]] = ()
    citation: str | None = None
    recipe: str | None = None
    evaluation: Mapping[str, Any] = field(default_factory=dict)
    figures: Path | str = "figures"

    @property
    def split(self) -> str:
        """The split whose figures come first: test, or validation where there is no test."""
        return "validation" if not self.metrics.get("test") and self.metrics.get("validation") else "test"

    @property
    def measured(self) -> dict[str, Any]:
        """The figures of that split."""
        found: dict[str, Any] = self.metrics.get(self.split) or {}
        return found

    @property
    def noun(self) -> str:
        """What one example is called."""
        return "images" if len(self.data.get("shape") or ()) == 3 else "examples"

    @property
    def steps(self) -> int | None:
        """How many steps were trained, where the history tells."""
        return max((r.get("step") or 0 for r in self.history), default=None)

    @property
    def hardly_begun(self) -> bool:
        """Whether the training was too short to tell what the latents will come to."""
        return self.steps is not None and self.steps < BEGUN

    @property
    def pointlike(self) -> bool:
        """Whether q was a point mass, which has no density: something was measured, and no elbo is among it."""
        return "distortion" in self.measured and "elbo" not in self.measured

    @property
    def kl_known(self) -> bool:
        """Whether the KL of each latent was measured."""
        kl = self.measured.get("kl_by_dim")
        return kl is not None and len(kl) == self.measured.get("latents", len(kl))


def write(path: Path | str, content: Content) -> Path:
    """Write the page, all or nothing."""
    files.write(Path(path), html(content).encode())
    return Path(path)


def html(content: Content) -> str:
    """Make the page: a whole HTML document that refers to nothing outside itself.

    Example:
        >>> page = html(Content("run-1", "runs/run-1", {}, {"name": "<b>"}, {}, [], {}))
        >>> "&lt;b&gt;" in page, "<b>" in page.split("</style>")[1].split("</header>")[0]
        (True, False)
    """
    style = resources.files("lowerbound").joinpath("report.css").read_text("utf-8")
    digest = base64.b64encode(hashlib.sha256(SCRIPT.encode()).digest()).decode()
    policy = (
        f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{digest}'; "
        "base-uri 'none'; form-action 'none'"
    )
    parts = (_cards, _story, _boxes, _measures, _training, _latents, _pictures, _reading, _commands, _details)
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="referrer" content="no-referrer">
<title>{escape(content.name)} · lowerbound</title>
<style>{style}</style>
</head>
<body>
<header><h1>{escape(content.name)}</h1><p class="lead">{_subtitle(content)}</p></header>
<main>
{"".join(part(content) for part in parts)}
</main>
<footer>Made by lowerbound {escape(str((content.env.get("versions") or content.env).get("lowerbound", "")))}.
This page is one file and loads nothing from anywhere.</footer>
<script>{SCRIPT}</script>
</body>
</html>
"""


def _cards(c: Content) -> str:
    m, seconds = c.measured, c.metrics.get("seconds") or {}
    cards = [_measure_card(c, name, i == 0) for i, name in enumerate(headline(m))]
    for name, letter in SCHEDULED.items():
        if found := c.metrics.get(name):
            asked, reached = found.get("asked"), found.get("reached")
            under = _under(c, name) if asked == reached else f"of the {_plain(asked)} asked"
            cards.append(_card(letter, _plain(reached), under))
    if m.get("active") is not None:
        cards.append(_card("latents in use", f"{m['active']:,}", f"of {m.get('latents', '?')}, {_others(c)}"))
    if sigma := c.metrics.get("sigma"):
        cards.append(_card("σ of p(x|z)", _plain(sigma.get("value")), str(sigma.get("kind"))))
    if seconds.get("training") is not None:
        cards.append(_card("training", duration(seconds["training"]), "evaluation not counted"))
    # rows of the same length, or nearly: five and a last one alone look like a mistake
    across = math.ceil(len(cards) / math.ceil(len(cards) / 4)) if cards else 0
    return f'<section class="cards" style="--across:{across}">{"".join(cards)}</section>' if cards else ""


def _under(c: Content, name: str) -> str:
    """Say what β or C is: the end of a schedule, or the same all along."""
    begun, ended = _schedule(c, name)
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


def _subtitle(c: Content) -> str:
    parts = [
        c.data.get("name"),
        c.recipe and f"recipe {c.recipe}",
        counted(c.spec["latents"], "latent") if "latents" in c.spec else None,
    ]
    return escape(" · ".join(str(p) for p in parts if p))


def _story(c: Content) -> str:
    text = [_what(c), _fitted(c), _course(c), *_usage(c)]
    return f'<section class="prose">{"".join(f"<p>{escape(t)}</p>" for t in text if t)}</section>'


def _what(c: Content) -> str:
    images, latents, size = c.data.get("images") or {}, c.spec.get("latents"), c.metrics.get("parameters")
    parts = [counted(latents, "latent")] if latents else []
    parts += [f"{size:,} parameters"] if size else []
    kind = "An autoencoder" if c.pointlike else "A variational autoencoder"
    model = kind + (f" with {' and '.join(parts)}" if parts else "")
    seen = f" on {images['train']:,} {c.noun}" if images.get("train") else ""
    named = f" of {c.data['name']}" if c.data.get("name") else ""
    first = f"{model} was trained{seen}{named}{_shape(c)}{_length(c)}."
    weights, count = c.metrics.get("weights") or {}, c.measured.get("images")
    if not count:
        return f"{first} There are no figures of a held-out split."
    which = {"best": "the weights that did best on validation", "last": "the last weights"}.get(
        weights.get("which", ""), "the weights"
    )
    which += f" (step {weights['step']:,})" if isinstance(weights.get("step"), int) else ""
    which += ", as an exponential moving average" if weights.get("ema") else ""
    return f"{first} The figures above are means over {count:,} {c.split} {c.noun} with {which}."


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
    if "elbo" in new:
        text += ", and the elbo and the rate above are under it"
        text += f". Under the prior of the training the {c.split} elbo is {number(old['elbo'])} nats"
    text += f". The mean log density of the held-out codes is {number(new['log_p'])} nats under the fitted prior "
    text += f"and {number(old['log_p'])} nats under that of the training."
    if not fit.get("exact", True):
        text += " Its log density has no closed form; it is estimated from below, and the elbo stays a lower bound."
    return text


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
    rows = [r for r in c.history if r.get("split") == "validation" and _finite(r.get("elbo"))]
    if c.pointlike:
        return _course_of_a_point(c)
    if len(rows) < 2:
        return "There are too few validations to say how it went." if c.history else ""
    first, last, best = rows[0], rows[-1], max(rows, key=lambda r: r["elbo"])
    way = "rose" if last["elbo"] >= first["elbo"] else "fell"
    text = f"From the first validation to the last the elbo {way} {_from_to(first, last, 'elbo')} nats: "
    text += f"distortion {_from_to(first, last, 'distortion')}, rate {_from_to(first, last, 'rate')}."
    courses = {name: _schedule(c, name) for name in SCHEDULED}
    for name, (begun, ended) in courses.items():
        if begun != ended:
            text += f" Meanwhile {SCHEDULED[name]} went from {_plain(begun)} to {_plain(ended)}."
    drop = best["elbo"] - last["elbo"]
    if drop > max(0.5, 0.005 * abs(best["elbo"])):
        text += f" It was best at step {best['step']:,} and lost {number(drop, 1)} nats after that: "
        text += f"{_why_it_fell(courses)}."
    return text


def _course_of_a_point(c: Content) -> str:
    """Say how it went where there is no elbo: by the distortion."""
    rows = [r for r in c.history if r.get("split") == "validation" and _finite(r.get("distortion"))]
    if len(rows) < 2:
        return "There are too few validations to say how it went."
    way = "fell" if rows[-1]["distortion"] <= rows[0]["distortion"] else "rose"
    return (
        f"From the first validation to the last the distortion {way} {_from_to(rows[0], rows[-1], 'distortion')} nats."
    )


def _schedule(c: Content, name: str) -> tuple[float, float]:
    """Give where a schedule began and ended; validation rows do not tell, they are weighed as at its end."""
    values = [r[name] for r in c.history if r.get("split") == "train" and _finite(r.get(name))]
    return (values[0], values[-1]) if values else (0.0, 0.0)


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


def _usage(c: Content) -> list[str]:
    """Say how many latents are in use, what the others are, and why."""
    m = c.measured
    latents, lost, flat = m.get("latents"), list(m.get("collapsed") or ()), list(m.get("constant") or ())
    if not latents or "active" not in m:
        return []
    if m["active"] is None:
        return [f"Whether the latents are in use cannot be told from one of the {c.noun}: their codes must vary."]
    if not lost and not flat:
        return [_all_in_use(c, latents)]
    if c.hardly_begun:
        return [_hardly_begun(c, len(lost) + len(flat))]
    if not c.kl_known:
        return [_by_variance(c, lost)]
    return [_states(latents, lost, flat), _collapse(c, len(lost) / latents) if lost else "", _constant(c, flat)]


def _all_in_use(c: Content, latents: int) -> str:
    one = latents == 1
    text = "The one latent is in use" if one else f"All {latents} latents are in use"
    if not c.kl_known:
        return f"{text}: the mean of {'it' if one else 'each'} varies over the {c.split} {c.noun} (no KL is known)."
    if one:
        return f"{text}: it has not collapsed to the prior."
    return f"{text}: none has collapsed to the prior, each says something of the input."


def _hardly_begun(c: Content, idle: int) -> str:
    return (
        f"The model has hardly begun: it was trained for {counted(c.steps or 0, 'step')}. "
        f"{counted(idle, 'latent')} {_verb(idle, 'is', 'are')} not in use yet; whether "
        f"{_verb(idle, 'it has', 'they have')} collapsed cannot be told so early. "
        "Train longer first, with more --epochs."
    )


def _by_variance(c: Content, lost: list[int]) -> str:
    if c.pointlike:
        why = f"variance of the code is at most {ACTIVE}: {_names(lost)}."
    else:
        why = (
            f"variance of the mean is at most {ACTIVE}. The KL of each is not known, so that whether they cost rate is "
            f"not known either: {_names(lost)}."
        )
    some = f"{counted(len(lost), 'latent')} {_verb(len(lost), 'is', 'are')}"
    return f"{some} not in use: over the {c.split} {c.noun} the {why}"


def _states(latents: int, lost: list[int], flat: list[int]) -> str:
    """Count the latents in each state, and name those that are not in use."""
    gone, still = f"KL below {FLOOR} nats", f"KL of {FLOOR} nats or more, variance of the mean at most {ACTIVE}"
    if latents == 1:
        state = f"has collapsed to the prior ({gone})" if lost else f"is constant ({still})"
        return f"The one latent is not in use: it {state}."
    active = latents - len(lost) - len(flat)
    parts = [f"{active or 'none'} {_verb(active, 'is', 'are')} in use"]
    if lost:
        parts.append(f"{len(lost)} {_verb(len(lost), 'has', 'have')} collapsed to the prior ({gone}): {_names(lost)}")
    if flat:
        parts.append(f"{len(flat)} {_verb(len(flat), 'is', 'are')} constant ({still}): {_names(flat)}")
    return f"Of {latents} latents {'; '.join(parts)}."


def _names(some: list[int]) -> str:
    return ", ".join(f"z{i}" for i in some[:12]) + (f" and {len(some) - 12} more" if len(some) > 12 else "")


def _verb(n: int, one: str, many: str) -> str:
    return one if n == 1 else many


def _constant(c: Content, flat: list[int]) -> str:
    """Say what a constant latent is, and how a capacity can bring it about."""
    if not flat:
        return ""
    text = "A constant latent costs rate and says nothing of the input: its mean is the same whatever that is."
    if capacity := _weight(c, "capacity"):
        text += (
            f" The loss asks for a rate of C = {_plain(capacity)} nats whether it carries something or not; a smaller "
            "γ (the weight of that term) or a longer training lets the distortion count for more."
        )
    return text


def _weight(c: Content, name: str) -> float:
    """Give β or C as it was at the step of the weights that are shown; 0 where there is none."""
    found = c.metrics.get(name) or {}
    value = found.get("chosen", found.get("reached"))
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else 0.0


def _collapse(c: Content, share: float) -> str:
    """Say what collapse means, and why β or a capacity brings it about."""
    beta, capacity = _weight(c, "beta"), _weight(c, "capacity")
    text = (
        "A collapsed latent has the same posterior whatever the input is: it costs hardly any rate and adds nothing. "
    )
    if share == 1:
        text = (
            "This is posterior collapse: the latents say nothing about the input, the decoder answers every code with "
            "the same average, and so all samples and reconstructions look alike. "
        )
    if capacity:
        text += (
            f"The loss holds the rate of all latents together at C = {_plain(capacity)} nats: those that lower the "
            "distortion most take it, and the others are left without."
        )
        return text + (" A higher C gives more of them something to carry." if share >= 0.25 else "")
    if beta > 1:
        text += (
            f"With β = {_plain(beta)} each nat of rate costs {_plain(beta)} nats of the loss, so a latent stays in use "
            f"only where each nat it carries lowers the distortion by more than {_plain(beta)}."
        )
        return text + (" A lower β, or one that grows slowly from 0, keeps more of them." if share >= 0.25 else "")
    text += "A latent is given up where it lowers the distortion by less than its rate costs. "
    hint = "A β that grows from 0 or free bits keep more of them; and fewer may be all that the data need."
    return text + ("A few spare latents do no harm." if share < 0.25 else hint)


def _boxes(c: Content) -> str:
    boxes = []
    likelihood = c.metrics.get("likelihood") or {}
    if likelihood.get("density") is False:
        found = ": ".join(str(likelihood[k]) for k in ("name", "note") if likelihood.get(k)).rstrip(".")
        what = "This distortion is no −log p(x|z)" if c.pointlike else "This elbo is not a bound of log p(x)"
        boxes.append(_box(what, f"<p>{escape(found)}.</p>{CROSS_ENTROPY}"))
    boxes += [_box("There is no elbo here", POINT, "box plain")] if c.pointlike else []
    boxes += [_schedule_box(letter, c.metrics.get(name) or {}) for name, letter in SCHEDULED.items()]
    return "".join([*boxes, *_data_boxes(c)])


def _data_boxes(c: Content) -> list[str]:
    """Say what happened to the data: what may be wrong in a box that warns, what was merely done in a plain one."""
    notes, bad = [str(n) for n in c.data.get("notes") or ()], list(c.data.get("unreadable") or ())
    unread = [found for n in notes if bad and (found := re.match(r"(\d+) files could not be read:", n))]
    notes = [n for n in notes if n not in {found.string for found in unread}]  # the list below names the same files
    inner = _list([n for n in notes if WARNS.search(n)])
    if bad:
        count = int(unread[0][1]) if unread else len(bad)  # the list is cut where it is very long
        inner += f"<p>{counted(count, 'file')} could not be read and {_verb(count, 'was', 'were')} left out:</p>"
        inner += _list(bad, 20, count)
    plain = _list([n for n in notes if not WARNS.search(n)])
    boxes = [_box("To check in the data", inner)] if inner else []
    return boxes + ([_box("About the data", plain, "box plain")] if plain else [])


def _schedule_box(letter: str, found: dict[str, Any]) -> str:
    """Say where β or C ended short of what was asked for, or the weights are from before it came there."""
    asked, reached = found.get("asked"), found.get("reached")
    if asked is None or reached is None:
        return ""
    chosen = found.get("chosen", reached)
    short, early = (not math.isclose(asked, value, rel_tol=1e-3) for value in (reached, chosen))
    text = f"{letter} reached {_plain(reached)} of the {_plain(asked)} that was asked for."
    text += f" The weights shown here are from a step at which it was {_plain(chosen)}." if chosen != reached else ""
    title = "The schedule did not reach its end" if short else "The weights are from before the schedule's end"
    return _box(title, f"<p>{escape(text)}</p>") if short or early else ""


def _box(title: str, inner: str, kind: str = "box") -> str:
    return f'<aside class="{kind}"><h3>{escape(title)}</h3>{inner}</aside>'


def _list(items: Sequence[Any], most: int = 50, count: int = 0) -> str:
    """Give a list of the first items, and say how many more there are of ``count``, or of those given."""
    count = max(count, len(items))
    lines = [str(i) for i in items[:most]] + ([f"and {count - most:,} more"] if count > most else [])
    return f"<ul>{''.join(f'<li>{escape(line)}</li>' for line in lines)}</ul>" if lines else ""


def _measures(c: Content) -> str:
    splits = [s for s in ("test", "validation") if c.metrics.get(s)]
    if not splits:
        return ""
    rows = "".join(
        f"<tr><td>{escape(name)}</td>{''.join(_cell(c.metrics[s], name) for s in splits)}</tr>"
        for name in _measured(c, splits)
    )
    counts = "".join(f"<td>{number(c.metrics[s].get('images'), 0)}</td>" for s in splits)
    rows += f"<tr><td>{c.noun}</td>{counts}</tr>"
    head = "".join(f"<th>{s}</th>" for s in splits)
    return f"""<h2>Measured</h2><p>In nats for each of the {c.noun}, ± the standard error of the mean.</p>
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
    return f"<td>{number(found.get(name))}{'' if error is None else f' <small>± {number(error)}</small>'}</td>"


def _training(c: Content) -> str:
    if not any(_finite(r.get(k)) for r in c.history for k in ("elbo", "distortion", "rate")):
        return "<h2>The training</h2><p>No step was logged.</p>"
    what = "distortion and loss" if c.pointlike else "elbo, distortion and rate"
    drawing = figures.svg(figures.curves(c.history), f"{what} over the training")
    caption = "Each training point is the mean of the steps since the last; each validation point is the whole split."
    return f"<h2>The training</h2>{_figure(drawing, '', caption)}"


def _latents(c: Content) -> str:
    kl = c.measured.get("kl_by_dim")
    order = kl if kl and all(len(r["kl_by_dim"]) == len(kl) for r in c.history if r.get("kl_by_dim")) else None
    heat = sum(1 for r in c.history if r.get("split") == "validation" and r.get("kl_by_dim"))
    text = ""
    if kl:
        flat = c.measured.get("constant") or ()
        bars = figures.svg(figures.kl_bars(kl, c.measured.get("collapsed") or (), flat), "KL of each latent")
        caption = f"Mean over the {c.split} {c.noun}, largest first. Faint: below {FLOOR} nats."
        caption += " Grey: the mean does not vary." if flat else ""
        text += _figure(bars, "What each latent carries", caption)
    if heat > 1 or (heat and not kl):
        drawing = figures.svg(figures.kl_heat(c.history, order), "KL of each latent over the training")
        text += _figure(
            drawing,
            "How they came to it",
            "KL of each latent on validation, in the order of the bars; the darker, the more it carries."
            if order
            else "KL of each latent on validation; the darker, the more it carries.",
        )
    return f"<h2>The latents</h2>{text}" if text else ""


def _figure(inner: str, title: str, caption: str) -> str:
    head = f"<h3>{escape(title)}</h3>" if title else ""
    kind = "paper chart" if inner.startswith("<svg") else "paper"
    return f'<figure>{head}<div class="{kind}">{inner}</div><figcaption>{escape(caption)}</figcaption></figure>'


def _pictures(c: Content) -> str:
    if not c.pictures:
        return ""
    weights = {} if all("weights" in p.caption for p in c.pictures) else c.metrics.get("weights") or {}
    step = f" of step {weights['step']:,}" if isinstance(weights.get("step"), int) else ""
    mean = ", averaged over the training (EMA)" if weights.get("ema") else ""
    lead = f"<p>Made with the {escape(str(weights['which']))} weights{step}{mean}.</p>" if weights.get("which") else ""
    shown = "".join(_figure(_image(p, most), p.title, p.caption) for p, most in _shares(c.pictures))
    return f"<h2>Pictures</h2>{lead}{shown}"


def _shares(pictures: Sequence[Picture]) -> list[tuple[Picture, int | None]]:
    """Give each picture the bytes it may take: no limit where all of them fit into the page."""
    sizes = []
    for picture in pictures:
        with contextlib.suppress(OSError, SyntaxError):
            sizes.append(len(_embedded(picture.path)[1]))
    return [(p, None if sum(sizes) <= PICTURES else PICTURES // len(pictures)) for p in pictures]


def _embedded(path: Path | str, most: int | None = None) -> tuple[str, bytes, tuple[int, int]]:
    """Give a picture's kind and bytes as the page has them, and the whole picture's width and height."""
    data = Path(path).read_bytes()
    with Image.open(io.BytesIO(data), formats=["PNG"]) as image:
        size = image.size
        if size[0] > WIDEST or size[1] > 2 * WIDEST:
            image.thumbnail((WIDEST, 2 * WIDEST), Image.Resampling.LANCZOS)
            file = io.BytesIO()
            image.save(file, "PNG", optimize=True)
            data = file.getvalue()
        # a photograph's grain is what PNG cannot make small
        return ("png", data, size) if most is None or len(data) <= most else ("jpeg", _jpeg(image, most), size)


def _jpeg(image: Image.Image, most: int) -> bytes:
    """Give a picture as JPEG, as wide as fits into so many bytes."""
    data, scale, whole = b"", 1.0, image.convert("RGB")
    while not data or (len(data) > most and scale > 0.05):
        file = io.BytesIO()
        part = whole.resize((max(1, round(whole.width * scale)), max(1, round(whole.height * scale))))
        part.save(file, "JPEG", quality=85)
        data, scale = file.getvalue(), scale * 0.8
    return data


def _image(picture: Picture, most: int | None = None) -> str:
    """Give a picture as an element with its bytes inside; a missing or damaged file is said and not fatal."""
    try:
        kind, data, (width, height) = _embedded(picture.path, most)
    except (OSError, SyntaxError) as error:  # Pillow reports a broken PNG as a SyntaxError
        return (
            f"<p>The picture {escape(Path(picture.path).name)} could not be read: {escape(type(error).__name__)}.</p>"
        )
    source = base64.b64encode(data).decode()
    return (
        f'<img alt="{escape(picture.title)}" width="{width}" height="{height}" style="max-width:{width}px" '
        f'loading="lazy" src="data:image/{kind};base64,{source}">'
    )


def _reading(c: Content) -> str:
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


def _commands(c: Content) -> str:
    if not c.commands:
        return ""
    blocks = "".join(
        f'<div class="command"><p>{escape(what)}</p><pre><code>{escape(command)}</code></pre></div>'
        for what, command in c.commands
    )
    return f"<h2>Go on from here</h2>{blocks}"


def _details(c: Content) -> str:
    seconds, citation = c.metrics.get("seconds") or {}, c.citation
    data = {k: v for k, v in c.data.items() if k not in ("notes", "unreadable")}
    run = {"directory": c.path, "recipe": c.recipe or "none", **{f"seconds, {k}": v for k, v in seconds.items()}}
    blocks = [
        (
            "The whole spec",
            f"<pre><code>{escape(json.dumps(c.spec, indent=2, ensure_ascii=False, default=str))}</code></pre>",
        ),
        ("Data", _terms(data)),
        ("Environment", _terms({**run, **c.env})),
    ]
    text = "".join(f"<details><summary>{title}</summary>{inner}</details>" for title, inner in blocks)
    cite = f"<h2>Cite</h2><p>{escape(citation)}</p>" if citation else ""
    return f"{cite}<h2>Everything else</h2>{text}"


def _terms(values: dict[str, Any]) -> str:
    return f"<dl>{''.join(f'<dt>{escape(str(k))}</dt><dd>{escape(_value(v))}</dd>' for k, v in values.items())}</dl>"


def _value(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{k} {_value(v)}" for k, v in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(_value(v) for v in value[:50]) + (f" and {len(value) - 50} more" if len(value) > 50 else "")
    return (
        {None: "none", True: "yes", False: "no"}.get(value, str(value))
        if value is None or isinstance(value, bool)
        else str(value)
    )


def _finite(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


def _plain(value: Any) -> str:
    return f"{value:.4g}".replace("-", "−") if isinstance(value, int | float) else "–"
