"""Checks that hold for every member of an axis: what is registered is examined, whoever registered it."""

import math
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.distributions import Distribution, Independent

from lowerbound import recipes
from lowerbound import spec as specs
from lowerbound.dist import draw, has_density
from lowerbound.doctor import grid
from lowerbound.doctor.closed import IMAGES, beside, known_model
from lowerbound.doctor.table import Row, Setting, drawn, mean_of, rounding, tried, worst
from lowerbound.errors import UsageError
from lowerbound.objective import Objective
from lowerbound.vae import VAE, Latent, Model

SHAPE, LATENTS, STEP = (1, 2, 2), 2, 1e-6
MOST = 4_000_000  # pixels that are drawn at once
REPEATS = 100
SENSES: dict[str, tuple[Literal["at most", "at least"], str]] = {
    "lower": ("at most", "below"),
    "upper": ("at least", "above"),
}
NET = {"kind": "mlp", "hidden": [16], "activation": "tanh"}  # smooth, so that differences are derivatives


def likelihoods(setting: Setting) -> Iterator[Row]:
    """Say of every likelihood whether it integrates to one, with its own mean, and draws what it scores."""
    for kind in specs.REGISTRIES["likelihood"]:
        yield from tried(kind, partial(_likelihood, kind, setting))


def _likelihood(kind: str, setting: Setting) -> Iterator[Row]:
    model = _lively(compose_any(likelihood={"kind": kind, "net": NET})).to(setting.device)
    with torch.no_grad():
        px = model.likelihood(1.5 * torch.randn(4, LATENTS).to(setting.device))
        yield from densities_of_pixels(px, kind, setting)


def densities_of_pixels(px: Distribution, name: str, setting: Setting) -> Iterator[Row]:
    """Hold independent pixels against enumeration or quadrature: mass, mean, draws, and the sum over pixels."""
    base: Distribution | None = px.base_dist if isinstance(px, Independent) else None
    found = None if base is None else grid.values(base)
    if base is None or found is None:
        why = "its variables are not independent, or live on no finite set, interval or line"
        yield Row(f"mass of p(x|z), {name}", 1.0, math.nan, told=True, note=f"not examined: {why}")
        return
    x, weights = found
    p = base.log_prob(x).double().exp() * weights.double()
    yield worst(f"mass of p(x|z), {name}", torch.ones(()), p.sum(0), tolerance=5e-4)
    mean = (p * x.double()).sum(0)
    yield worst(f"mean of p(x|z), {name}", mean, px.mean, tolerance=1e-3 * (1 + float(mean.abs().max())))
    draws = px.sample(torch.Size([max(200, min(setting.many(20_000), MOST // mean.numel()))]))
    axes = tuple(range(draws.ndim - len(px.event_shape), draws.ndim))
    yield worst(f"log p(x|z), summed over pixels, {name}", base.log_prob(draws[:9]).sum(axes), px.log_prob(draws[:9]))
    centre = x[len(x) // 2]
    exact = (p * _bent(x - centre)).sum(0).mean()
    yield drawn(f"draws of p(x|z), {name}", float(exact), _bent(draws - centre).flatten(1).mean(1))


def _bent(x: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
    """Give tanh x + tanh² x: bounded, so that it has a mean whatever the tails, and moved by place and by scale."""
    y = torch.tanh(x)
    return y + y.square()


def divergences(setting: Setting) -> Iterator[Row]:
    """Hold every closed form of KL(q(z|x) ‖ p(z)) against draws, for each posterior and prior that go together."""
    for q in specs.REGISTRIES["posterior"]:
        for p in specs.REGISTRIES["prior"]:
            yield from tried(f"{q} and {p}", partial(_divergence, q, p, setting))


def _divergence(q: str, p: str, setting: Setting) -> Iterator[Row]:
    latent = _latent(setting, q, p, 1)
    if latent is not None and latent.density and latent.closed_kl is not None:
        z, log_q = draw(latent.q, setting.many(50_000))
        latent = Latent(z, latent.q, latent.p, log_q)
        with torch.no_grad():
            yield drawn(f"KL of {q} and {p}", float(latent.kl.mean()), (latent.log_q - latent.log_p).mean(1))


def _latent(setting: Setting, q: str, p: str, samples: int) -> Latent | None:
    """Draw latents of a posterior and a prior; None where the two do not go together, which is refused in words."""
    try:
        model = compose(posterior={"kind": q, "net": NET}, prior={"kind": p})
        with torch.no_grad():
            trace = _lively(model).to(setting.device)(torch.rand(3, *SHAPE).to(setting.device), samples=samples)
    except UsageError:
        return None
    latent: Latent = trace.latents[0]
    return latent


def densities(setting: Setting) -> Iterator[Row]:
    r"""Hold the density of every posterior and prior against its own draws.

    For any density r that lives where q does,

    .. math:: \mathbb E_{q(z)} \frac{r(z)}{q(z)} = 1

    which fails where q does not integrate to one, or where draws are not those that it scores.
    """
    for kind in specs.REGISTRIES["posterior"]:
        yield from tried(f"{kind} posterior", partial(_density_of_posterior, kind, setting))
    for kind in specs.REGISTRIES["prior"]:
        yield from tried(f"{kind} prior", partial(_density_of_prior, kind, setting))


def _density_of_posterior(kind: str, setting: Setting) -> Iterator[Row]:
    found = (_latent(setting, kind, p, setting.many(50_000)) for p in specs.REGISTRIES["prior"])
    latent = next((latent for latent in found if latent is not None), None)
    if latent is None:
        yield Row(f"priors that go with {kind}", 1.0, 0.0, sense="at least", note="every one is refused")
    elif latent.density and _euclidean(latent.q):
        yield _mass(f"mass of q(z|x), {kind}", latent.z[:, 0], latent.log_q[:, 0])
        if latent.scored is not None:
            yield _rescored(f"log q(z|x) scored anew, {kind}", latent)


def _density_of_prior(kind: str, setting: Setting) -> Iterator[Row]:
    model = _lively(compose_any(prior={"kind": kind})).to(setting.device)
    with torch.no_grad():
        p = model.prior()
        z, log_p = draw(p, setting.many(50_000))
        if has_density(p) and _euclidean(p):
            yield _mass(f"mass of p(z), {kind}", z, p.log_prob(z) if log_p is None else log_p)


def _euclidean(d: Distribution) -> bool:
    support = d.support
    return support is not None and not support.is_discrete and len(d.event_shape) == 1


def _rescored(name: str, latent: Latent) -> Row:
    """Hold the density that came with a draw against that of the same z given from outside."""
    z, scored = latent.z[:500], latent.log_q[:500]
    with torch.no_grad():
        again = latent.q.log_prob(z.clone())
    return worst(name, scored, again, tolerance=5e-3)


def _mass(name: str, z: Float[Tensor, "N D"], log_q: Float[Tensor, "N"]) -> Row:
    """Give the row of E r/q, with r a narrow Gaussian about a place where q is high."""
    z, log_q = z.detach().cpu().double(), log_q.detach().cpu().double()
    centre = z[log_q[:200].argmax()]
    quarters = torch.quantile(z, torch.tensor([0.25, 0.75], dtype=z.dtype), dim=0)
    r = torch.distributions.Independent(torch.distributions.Normal(centre, 0.3 * (quarters[1] - quarters[0])), 1)
    return drawn(name, 1.0, (r.log_prob(z) - log_q).exp())


def bounds(setting: Setting) -> Iterator[Row]:
    """Hold the bound of every objective that says it is one against log p(x) of probabilistic PCA."""
    known = known_model()
    x = known.draw(IMAGES, setting.seed)
    there, exact = x.float().to(setting.device), float(known.log_p(x).mean())
    near, tight = beside(known, x)[0].to(setting.device), known.vae(exact=True).float().to(setting.device)
    for kind in specs.REGISTRIES["objective"]:
        yield from tried(kind, partial(_bound, kind, near, tight, there, exact, setting))


def _bound(
    kind: str, near: Model, tight: Model, x: Float[Tensor, "N D"], exact: float, setting: Setting
) -> Iterator[Row]:
    objective = make_objective({"kind": kind}).to(setting.device).eval()
    if objective.bound is None:
        return
    sense, word = SENSES[objective.bound]
    mean, error = mean_of(_drawn_bounds(near, objective, x, setting.many(150)))
    yield Row(f"bound of {kind}, {word} log p(x)", exact, mean, rounding(exact), error, sense=sense)
    drawn_bounds = _drawn_bounds(tight, objective, x, setting.many(150))
    yield drawn(f"bound of {kind} at the exact posterior: log p(x)", exact, drawn_bounds)


def estimators(setting: Setting) -> Iterator[Row]:
    """Say of every gradient that an objective offers beside the total one that it vanishes where it must.

    Such an estimator changes no value; and at the exact posterior it gives the posterior's parameters nothing, draw by
    draw, since nothing there depends on them but through z.
    """
    known = known_model()
    x = known.draw(IMAGES, setting.seed)
    there, exact = x.float().to(setting.device), known.vae(exact=True).float().to(setting.device)
    near = beside(known, x)[0].to(setting.device)
    for kind in specs.REGISTRIES["objective"]:
        field = next((field for field in specs.describe("objective", kind) if field.name == "gradient"), None)
        for choice in field.type.split(" or ") if field else ():
            word = choice.strip('"')
            if word != "total":
                yield from tried(f"{kind}, {word}", partial(_estimator, kind, word, exact, near, there))


def _estimator(kind: str, word: str, exact: Model, near: Model, x: Float[Tensor, "N D"]) -> Iterator[Row]:
    other = make_objective({"kind": kind, "gradient": word}).to(x.device)
    loss = other(exact, x).losses["model"]
    found = torch.autograd.grad(loss, [p for name, p in exact.named_parameters() if name.startswith("posterior")])
    largest = max(float(g.abs().max()) for g in found)
    yield Row(f"gradient {word} of {kind} at the exact posterior, the largest", 0.0, largest, 2e-5)
    total, off = make_objective({"kind": kind}).to(x.device), []
    for _ in range(REPEATS):
        seed, values = int(torch.randint(2**62, ())), []
        for objective in (total, other):
            torch.manual_seed(seed)
            with torch.no_grad():
                terms = objective(near, x).terms
            values.append(terms.get("bound", -terms["loss"]))
        off.append(values[1] - values[0])
    yield drawn(f"bound of {kind} under the gradient {word}, less that under total", 0.0, torch.stack(off))


def schedules(setting: Setting) -> Iterator[Row]:
    """Say of every schedule whether it ends at the value that was asked for; what adapts has no such value."""
    for kind in specs.REGISTRIES["weight"]:
        yield from tried(kind, partial(_schedule, kind))


def _schedule(kind: str) -> Iterator[Row]:
    node = {"kind": kind, **{f.name: 4.0 for f in specs.describe("weight", kind) if f.required or f.name == "end"}}
    weight = specs.construct("weight", specs.complete("weight", node, kind), {"total": 1000})
    if not getattr(weight, "adaptive", False):
        yield Row(f"{kind} weight after the last step", 4.0, weight(1000), 1e-3)


def _drawn_bounds(model: Model, objective: Objective, x: Tensor, repeats: int) -> Tensor:
    with torch.no_grad():
        terms = [objective(model, x).terms for _ in range(repeats)]
    return torch.stack([term.get("bound", term["elbo"]) for term in terms])


def gradients(setting: Setting) -> Iterator[Row]:
    """Hold gradients against central differences of the same draws, in float64 and a random direction.

    Of every posterior, prior and likelihood, in log w; of every objective and term, in what the model minimises. Only
    its own player's parameters move: what another one's are to a loss is no gradient that anybody takes.
    """
    where = setting.exact
    for part in ("posterior", "prior", "likelihood"):
        for kind in specs.REGISTRIES[part]:
            yield from tried(f"{kind} {part}", partial(_of_part, part, kind, where))
    for kind in specs.REGISTRIES["objective"]:
        yield from tried(kind, partial(_of_objective, f"gradient of {kind}", {"kind": kind}, where))
    for kind in specs.REGISTRIES["term"]:
        terms = {"distortion": {"kind": "distortion"}, "other": {"kind": kind}}
        node = {"kind": "elbo", "terms": terms}
        yield from tried(kind, partial(_of_objective, f"gradient of {kind}", node, where))


def _of_part(part: str, kind: str, where: torch.device) -> Iterator[Row]:
    node = {"kind": kind} if part == "prior" else {"kind": kind, "net": NET}
    model = _lively(compose_any(**{part: node})).double().to(where)
    if getattr(getattr(model, part), "pathwise", True):
        x = _values(model).to(where)
        yield derivative(f"gradient of log w, {kind} {part}", _log_w(model, x), list(model.parameters()))


def _of_objective(name: str, node: dict[str, Any], where: torch.device) -> Iterator[Row]:
    model, objective = None, make_objective(node).double().to(where).eval()
    for q in specs.REGISTRIES["posterior"]:  # a penalty of autoencoders takes a posterior without a density
        try:
            some = _lively(compose(posterior={"kind": q, "net": NET})).double().to(where)
            objective(some, _values(some).to(where))
        except UsageError:
            continue
        model = some
        break
    if model is None:
        yield Row(f"{name}: posteriors that go with it", 1.0, 0.0, sense="at least", note="every one is refused")
        return
    x = _values(model).to(where)
    player = mover(objective(model, x).losses)
    yield derivative(name, lambda: objective(model, x).losses[player], objective.players(model)[player].params)


def mover(losses: Mapping[str, Tensor]) -> str:
    """Name the player whose loss is a plain function of its parameters: the model, or who moves alone."""
    return "model" if "model" in losses else next(iter(losses))


def _log_w(model: VAE, x: Tensor) -> Callable[[], Tensor]:
    def value() -> Tensor:
        trace = model(x, samples=3)
        latent = trace.latents[0]
        log_q = latent.log_q if latent.density else torch.zeros_like(latent.log_p)
        found: Tensor = (trace.log_px + latent.log_p - log_q).mean()
        return found

    return value


def _values(model: Model) -> Tensor:
    """Give images of values that every likelihood takes: half of them 0 or 1, half of them grey, all of them k/255."""
    levels = torch.randint(0, 256, (8, *SHAPE)) / 255
    return torch.where(torch.rand(8, *SHAPE) < 0.5, levels.round(), levels).to(next(model.parameters()).dtype)


def derivative(name: str, value: Callable[[], Float[Tensor, ""]], params: list[nn.Parameter]) -> Row:
    """Give the row of a derivative in a random direction: by differences (exact), and by backpropagation."""
    params = [p for p in params if p.requires_grad]
    direction = [torch.randn(p.shape, dtype=torch.float64).to(p) for p in params]
    length = math.sqrt(sum(float(v.square().sum()) for v in direction))
    seed = int(torch.randint(2**62, ()))

    def at(move: float) -> Tensor:
        with torch.no_grad():
            for p, v in zip(params, direction, strict=True):
                p.add_(v, alpha=move / length)
        torch.manual_seed(seed)
        return value()

    gradient = torch.autograd.grad(at(0.0), params, allow_unused=True)
    found = sum(float((g * v).sum()) for g, v in zip(gradient, direction, strict=True) if g is not None) / length
    with torch.no_grad():
        up, down = float(at(STEP)), float(at(-2 * STEP))
        at(STEP)
    exact = (up - down) / (2 * STEP)
    return Row(name, exact, found, 1e-5 * (1 + abs(exact)))


def compose(**parts: Any) -> VAE:
    """Build a VAE of these parts as a spec would, for four pixels and two latents; raises UsageError."""
    spec = recipes.base({"kind": "own"}, SHAPE)
    plain = {"kind": "gaussian", "net": NET}
    spec["model"] = {"kind": "vae", "posterior": plain, "prior": {"kind": "standard"}, "likelihood": plain, **parts}
    spec["latents"], spec["seed"] = LATENTS, int(torch.randint(2**31, ()))
    model = specs.build_model(specs.check(spec), SHAPE, True)
    if not isinstance(model, VAE):
        raise UsageError("The model of kind vae is none.")
    return model.eval()


def compose_any(**parts: Any) -> VAE:
    """Build a VAE of these parts, with the first posterior or prior that goes with them; raises UsageError."""
    refusals = []
    for q in [{}] if "posterior" in parts else [{"kind": kind, "net": NET} for kind in specs.REGISTRIES["posterior"]]:
        for p in [{}] if "prior" in parts else [{"kind": kind} for kind in specs.REGISTRIES["prior"]]:
            chosen = {**parts, **({"posterior": q} if q else {}), **({"prior": p} if p else {})}
            try:
                return compose(**chosen)
            except UsageError as error:
                refusals.append(error)
    raise refusals[0]


def make_objective(node: dict[str, Any]) -> Objective:
    """Build an objective as a spec would, with its defaults, and the elbo's own terms where it takes some."""
    elbo = {"kind": "elbo", "terms": {"distortion": {"kind": "distortion"}, "kl": {"kind": "kl"}}}
    for field in specs.describe("objective", node["kind"]):
        if field.node == "objective" and field.required:
            node = {field.name: elbo, **node}
        if field.name == "terms":
            node = {**elbo, **node}
    spec = {**recipes.base({"kind": "own"}, SHAPE), "objective": node, "latents": LATENTS}
    spec["model"] = {"kind": "own"}
    return specs.build_objective(specs.check(spec), 100, 1000)


def _lively(model: VAE) -> VAE:
    """Move all weights a little at random, so that nothing stays at the special place where it begins."""
    with torch.no_grad():
        for p in model.parameters():
            size = float(p.square().mean().sqrt())
            p.add_(torch.randn(p.shape).to(p), alpha=max(0.3 * size, 0.05))
    return model
