"""The aggregate posterior: latents in use, what the rate is spent on, and whether codes are where the prior is."""

import math
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from lowerbound import figures, metrics
from lowerbound.errors import UsageError
from lowerbound.evaluation.base import Drawn, Section, Subject
from lowerbound.metrics.aggregate import ACTIVE, FLOOR
from lowerbound.words import noun, p_value, with_error

COSTLY = 1000  # images of q(z) where its density takes an inversion for each of them
TESTED = 10_000  # codes, at most, that are held against as many draws of the prior
NEAR = 1.0  # nats below log N: mutual information as near as this says little but that images are told apart
PANELS = 6  # marginals that are drawn
PARTS = {
    "mutual_information": "mutual information I(x; z)",
    "kl_q_p": "KL(q(z) ‖ p(z))",
    "total_correlation": "total correlation",
    "dimension_wise_kl": "dimension-wise KL",
}


def measure(subject: Subject) -> Section:
    """Measure latents in use, the parts of the rate, and the mismatch of codes and prior, of one split.

    The values: "images" and "latents"; "active_units" (by variance) and "active_by_kl" (None where no KL of each is
    known); "mutual_information", "kl_q_p", "total_correlation", "dimension_wise_kl" and "rate", each {"value",
    "standard_error"} in nats, or None and then its reason in "refused"; "exact_rate", in closed form, or None; "draws"
    and "mixture", the z and the images that these are of, and "log_images", the log of the latter, which bounds the
    mutual information; "kl_by_dim" and "marginal_kl", lists or None; "two_sample": {"statistic", "accuracy",
    "standard_error", "p", "n", "held_out"} or None and then its reason in "refused".
    """
    if subject.size < 2:
        raise UsageError(
            f"The aggregate posterior is that of many {noun(subject.run.data['shape'])}, and the {subject.split} split "
            "has one: take another with --split."
        )
    aggregate = metrics.aggregate_posterior(subject.model, subject.blocks())
    values: dict[str, Any] = {"images": len(aggregate), "latents": aggregate.latents, "refused": {}}
    _parts(subject, aggregate, values)
    _in_use(subject, aggregate, values)
    codes = aggregate.one_each(subject.settings.seed)[:TESTED].cpu()
    draws = subject.model.draw_latents(len(codes), seed=subject.settings.seed).detach().cpu().reshape(codes.shape)
    found = _two_samples(subject, codes, draws, values)
    pictures = [*_of_the_rate(subject, values), *_of_the_mismatch(codes, draws, found)]
    notes = _notes(values, noun(subject.run.data["shape"]))
    return Section("The aggregate posterior", values, _rows(values), notes, pictures)


def _parts(subject: Subject, aggregate: metrics.Aggregate, values: dict[str, Any]) -> None:
    """Take the rate apart; what has no meaning is refused part by part, since the rest has one."""
    costly = hasattr(aggregate.parts[0], "rsample_and_log_prob")  # as flows have, which score what they draw at once
    some = aggregate.first(COSTLY) if costly else aggregate
    values.update(dict.fromkeys((*PARTS, "rate", "exact_rate", "kl_by_dim", "marginal_kl", "draws")))
    values.update(mixture=len(some), log_images=math.log(len(some)))
    try:
        found = metrics.decompose(some, seed=subject.settings.seed, progress=subject.tell("aggregate posterior"))
    except UsageError as error:
        values["refused"] |= dict.fromkeys(PARTS, str(error))
        return
    for name in (*PARTS, "rate"):
        part = getattr(found, name)
        values[name] = None if part is None else vars(part)
    values.update({name: getattr(found, name) for name in ("exact_rate", "kl_by_dim", "marginal_kl", "draws")})
    values["refused"] |= found.refused


def _in_use(subject: Subject, aggregate: metrics.Aggregate, values: dict[str, Any]) -> None:
    codes, _ = subject.codes
    unit = metrics.unit_variance(codes, aggregate.prior, density=aggregate.density)
    kl = values["kl_by_dim"]
    values["active_units"] = int(metrics.active_units(codes, unit=unit).sum())
    values["active_by_kl"] = None if kl is None else sum(nats >= FLOOR for nats in kl)
    values["density"] = aggregate.density


def _two_samples(
    subject: Subject, codes: Float[Tensor, "N D"], draws: Float[Tensor, "N D"], values: dict[str, Any]
) -> metrics.Mismatch | None:
    try:
        found = metrics.mismatch(codes, draws, seed=subject.settings.seed)
    except UsageError as error:
        values["two_sample"], values["refused"]["two_sample"] = None, str(error)
        return None
    names = ("accuracy", "standard_error", "p", "n", "held_out")
    values["two_sample"] = {"statistic": found.accuracy, **{name: getattr(found, name) for name in names}}
    return found


def _rows(values: dict[str, Any]) -> list[tuple[str, str]]:
    latents, refused = values["latents"], values["refused"]
    unit = "of the prior's" if values["density"] else "of the largest latent's"
    rows = [
        ("active units, by variance", f"{values['active_units']} of {latents}: the mean's above {ACTIVE:.0%} {unit}")
    ]
    if values["active_by_kl"] is not None:
        rows.append(("active units, by KL", f"{values['active_by_kl']} of {latents}: {FLOOR} nats or more"))
    reasons = {refused.get(name) for name in PARTS}
    if len(reasons) == 1 and None not in reasons:
        rows.append(("the rate and its parts", f"none: {reasons.pop()}"))
    else:
        parts = ((what, name, values[name]) for name, what in PARTS.items())
        rows += [(what, f"none: {refused[name]}" if part is None else _nats(part)) for what, name, part in parts]
    if values["rate"]:
        exact = values["exact_rate"]
        closed = "" if exact is None else f"; in closed form {exact:.2f}"
        rows.append(("their sum, the rate", f"{_nats(values['rate'])}{closed}"))
    test = values["two_sample"]
    rows.append(("codes against prior", f"none: {refused['two_sample']}" if test is None else _told(test)))
    return rows


def _nats(part: dict[str, float]) -> str:
    return f"{with_error(part['value'], part['standard_error'])} nats"


def _told(test: dict[str, float]) -> str:
    share = f"{100 * test['accuracy']:.1f} ± {100 * test['standard_error']:.1f} %"
    return f"{share} of {2 * test['held_out']:,} told apart rightly, where chance is 50 %; {p_value(test['p'])}"


def _notes(values: dict[str, Any], noun: str) -> list[str]:
    notes = _of_estimates(values, noun) if values["rate"] else []
    if not values["density"]:
        notes.append(
            "Codes of a point mass have the size that the decoder takes: whether a latent varies is measured by the "
            "widest one, and a narrow one that the decoder magnifies may be in use all the same."
        )
    if test := values["two_sample"]:
        least = 2 * (test["accuracy"] - 2 * test["standard_error"]) - 1
        size = (
            f"they differ in {least:.0%} of their mass at least, and in more if a better classifier does better."
            if least > 0
            else "no difference was found here, which a better classifier, or more codes, may find."
        )
        notes.append(
            "Codes against prior is a two-sample test: a classifier learns from half of the codes and as many draws of "
            "the prior, and names the others. With codes enough every trained model is rejected; how large the "
            f"mismatch is, the accuracy says: {size}"
        )
    return notes


def _of_estimates(values: dict[str, Any], noun: str) -> list[str]:
    n, limit, mi = values["mixture"], values["log_images"], values["mutual_information"]["value"]
    part = "" if n == values["images"] else ", the first ones, since this posterior's density is slow to compute"
    notes = [
        f"q(z) is the mixture of the posteriors of {n:,} {noun}{part}. All of them are summed at {values['draws']:,} "
        f"draws of z: for these {noun} each figure is unbiased, and ± is its Monte Carlo error. For the distribution "
        "that they are from, mutual information is too small on average, KL(q(z) ‖ p(z)) too large by as much, and "
        "dimension-wise KL too large by little; the total correlation takes the rest."
    ]
    if limit - mi < NEAR:
        notes.append(
            f"Mutual information cannot exceed log N = {limit:.2f} nats and is near it: the codes tell nearly all of "
            f"these {n:,} {noun} apart. The true figure may be much larger, and KL(q(z) ‖ p(z)) and the total "
            f"correlation as much smaller: compare them only between models measured on the same {noun}."
        )
    if values["exact_rate"] is not None:
        gap, error = values["rate"]["value"] - values["exact_rate"], values["rate"]["standard_error"]
        notes.append(
            f"The parts add up to {values['rate']['value']:.2f} nats, {abs(gap):.2f} from the rate in closed form; the "
            f"Monte Carlo error of the sum is {error:.2f}."
        )
    return notes


def _of_the_rate(subject: Subject, values: dict[str, Any]) -> list[Drawn]:
    pictures = []
    if values["rate"]:
        whole = values["dimension_wise_kl"] and values["total_correlation"]
        names = ("mutual_information", *(("total_correlation", "dimension_wise_kl") if whole else ("kl_q_p",)))
        parts = [(PARTS[name], values[name]["value"], values[name]["standard_error"]) for name in names]
        caption = (
            "What codes tell of the images, which is at most log N of them; how far the latents depend on one another; "
            "and how far each is from the prior." if whole
            else "What codes tell of the images, at most log N of them, and how far they are from the prior."
        )  # fmt: skip
        drawn = figures.rate_parts(parts, limit=values["log_images"])
        pictures.append(Drawn("rate", "What the rate is spent on", caption, drawn))
    if sum(bool(row.get("kl_by_dim")) for row in subject.run.history) > 1:  # one validation is no course
        heat = figures.kl_heat(subject.run.history, values["kl_by_dim"])
        pictures.append(
            Drawn("kl", "The KL of each latent over the training", "Of the validation split, the largest on top.", heat)
        )
    return pictures


def _of_the_mismatch(
    codes: Float[Tensor, "N D"], draws: Float[Tensor, "N D"], found: metrics.Mismatch | None
) -> list[Drawn]:
    if not bool(codes.isfinite().all()):
        return []
    gaps = metrics.marginal_gaps(codes, draws)
    worst = gaps.argsort(descending=True)[:PANELS]
    names = [f"z{i} · {gaps[i]:.0%} apart" for i in worst.tolist()]
    caption = (
        "The latents that match the prior least, by the largest difference of their distribution functions. Each may "
        "match while the prior has holes between them."
    )
    pictures = [
        Drawn("marginals", "Codes against the prior, one latent at a time", caption,
              figures.marginals(codes[:, worst], draws[:, worst], names))
    ]  # fmt: skip
    if found is not None and codes.shape[1] > 1:
        plane, axes = _plane(codes.shape[1], found)
        caption = (
            "Codes over as many draws of the prior, in the plane in which a classifier tells them apart best, and the "
            "share of either in each cell (grey: too few of both). Where the prior draws and no code lies, the decoder "
            "was never trained: what is sampled from there is bad."
        )
        holes = figures.holes(codes.double() @ plane.T, draws.double() @ plane.T, axes)
        pictures.append(Drawn("holes", "Where the prior and the codes differ", caption, holes))
    return pictures


def _plane(latents: int, found: metrics.Mismatch) -> tuple[Float[Tensor, "2 D"], tuple[str, str]]:
    """Give the plane of the two directions, and names for these by the latents that count most in them."""
    if latents == 2:
        return torch.eye(2, dtype=torch.float64), ("z0", "z1")
    weights = found.directions
    names = [", ".join(f"z{i}" for i in row.abs().argsort(descending=True)[:3].tolist()) for row in weights]
    return weights / found.deviation, (f"direction 1, mostly {names[0]}", f"direction 2, mostly {names[1]}")
