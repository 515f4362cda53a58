"""Which latents are in use, what the others are and why, in words and as pictures."""

from lowerbound import figures
from lowerbound.metrics.aggregate import ACTIVE, FLOOR
from lowerbound.report.content import Content
from lowerbound.report.markup import framed, names, plain, verb, weight_of
from lowerbound.words import counted


def usage(c: Content) -> list[str]:
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
        f"{counted(idle, 'latent')} {verb(idle, 'is', 'are')} not in use yet; whether "
        f"{verb(idle, 'it has', 'they have')} collapsed cannot be told so early. "
        "Train longer first, with more --epochs."
    )


def _by_variance(c: Content, lost: list[int]) -> str:
    if c.pointlike:
        why = f"variance of the code is at most {ACTIVE}: {names(lost)}."
    else:
        why = (
            f"variance of the mean is at most {ACTIVE}. The KL of each is not known, so that whether they cost rate is "
            f"not known either: {names(lost)}."
        )
    some = f"{counted(len(lost), 'latent')} {verb(len(lost), 'is', 'are')}"
    return f"{some} not in use: over the {c.split} {c.noun} the {why}"


def _states(latents: int, lost: list[int], flat: list[int]) -> str:
    """Count the latents in each state, and name those that are not in use."""
    gone, still = f"KL below {FLOOR} nats", f"KL of {FLOOR} nats or more, variance of the mean at most {ACTIVE}"
    if latents == 1:
        state = f"has collapsed to the prior ({gone})" if lost else f"is constant ({still})"
        return f"The one latent is not in use: it {state}."
    active = latents - len(lost) - len(flat)
    parts = [f"{active or 'none'} {verb(active, 'is', 'are')} in use"]
    if lost:
        parts.append(f"{len(lost)} {verb(len(lost), 'has', 'have')} collapsed to the prior ({gone}): {names(lost)}")
    if flat:
        parts.append(f"{len(flat)} {verb(len(flat), 'is', 'are')} constant ({still}): {names(flat)}")
    return f"Of {latents} latents {'; '.join(parts)}."


def _constant(c: Content, flat: list[int]) -> str:
    """Say what a constant latent is, and how a capacity can bring it about."""
    if not flat:
        return ""
    text = "A constant latent costs rate and says nothing of the input: its mean is the same whatever that is."
    if capacity := weight_of(c, "capacity"):
        text += (
            f" The loss asks for a rate of C = {plain(capacity)} nats whether it carries something or not; a smaller "
            "γ (the weight of that term) or a longer training lets the distortion count for more."
        )
    return text


def _collapse(c: Content, share: float) -> str:
    """Say what collapse means, and why β or a capacity brings it about."""
    beta, capacity = weight_of(c, "beta"), weight_of(c, "capacity")
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
            f"The loss holds the rate of all latents together at C = {plain(capacity)} nats: those that lower the "
            "distortion most take it, and the others are left without."
        )
        return text + (" A higher C gives more of them something to carry." if share >= 0.25 else "")
    if beta > 1:
        text += (
            f"With β = {plain(beta)} each nat of rate costs {plain(beta)} nats of the loss, so a latent stays in use "
            f"only where each nat it carries lowers the distortion by more than {plain(beta)}."
        )
        return text + (" A lower β, or one that grows slowly from 0, keeps more of them." if share >= 0.25 else "")
    text += "A latent is given up where it lowers the distortion by less than its rate costs. "
    hint = "A β that grows from 0 or free bits keep more of them; and fewer may be all that the data need."
    return text + ("A few spare latents do no harm." if share < 0.25 else hint)


def latents(c: Content) -> str:
    """Draw the KL of each latent, at the end and over the training."""
    kl = c.measured.get("kl_by_dim")
    order = kl if kl and all(len(r["kl_by_dim"]) == len(kl) for r in c.history if r.get("kl_by_dim")) else None
    heat = sum(1 for r in c.history if r.get("split") == "validation" and r.get("kl_by_dim"))
    text = ""
    if kl:
        flat = c.measured.get("constant") or ()
        bars = figures.svg(figures.kl_bars(kl, c.measured.get("collapsed") or (), flat), "KL of each latent")
        caption = f"Mean over the {c.split} {c.noun}, largest first. Faint: below {FLOOR} nats."
        caption += " Grey: the mean does not vary." if flat else ""
        text += framed(bars, "What each latent carries", caption)
    if heat > 1 or (heat and not kl):
        drawing = figures.svg(figures.kl_heat(c.history, order), "KL of each latent over the training")
        text += framed(
            drawing,
            "How they came to it",
            "KL of each latent on validation, in the order of the bars; the darker, the more it carries."
            if order
            else "KL of each latent on validation; the darker, the more it carries.",
        )
    return f"<h2>The latents</h2>{text}" if text else ""
