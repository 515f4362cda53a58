"""Checks on models with exact answers: Gaussians, probabilistic PCA, a finite model, and torch's own convolutions."""

import math
from collections.abc import Iterator
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from lowerbound import data, likelihood, metrics, oracle, posterior, prior
from lowerbound.dist import draw
from lowerbound.doctor.table import Row, Setting, computed, drawn, mean_of, rounding, worst
from lowerbound.objective import KL, Decomposed, Distortion, Elbo
from lowerbound.objective.decomposed import log_aggregate, log_weights
from lowerbound.strided import Down, Up
from lowerbound.train import Plan, start, train
from lowerbound.vae import VAE, Latent, Trace

LATENTS, PIXELS, SIGMA = 2, 6, 0.7
IMAGES = 60
FEW = 20  # images in a batch of which an error of the weights is no trifle


def gaussian(setting: Setting) -> Iterator[Row]:
    """Hold the KL of diagonal Gaussians, and their draws, against the closed form in μ and log σ²."""
    mu, logvar = torch.randn(3, 4), torch.randn(3, 4)
    exact = oracle.standard_kl(mu, logvar.exp())
    family = posterior.Gaussian(nn.Identity(), 4, features=1)
    q = family.dist(torch.cat([mu, logvar], -1).to(setting.device))
    p = prior.Standard(4).to(setting.device)()
    latent = Latent(draw(q, setting.many(100_000))[0], q, p)
    yield worst("KL(q(z|x) ‖ p(z)), the closed form", exact, latent.kl[0])
    by_dim = latent.kl_by_dim
    if by_dim is None:
        yield Row("KL of each latent", 1.0, math.nan, note="there is none for a diagonal Gaussian")
    else:
        yield worst("KL(q(z|x) ‖ p(z)), summed over the latents", exact, by_dim[0].sum(-1))
    yield drawn("E log q(z|x) - log p(z)", float(exact.mean()), (latent.log_q - latent.log_p).mean(1))
    white = (latent.z.cpu() - mu).square() / logvar.exp()
    yield drawn("E (z - μ)² / σ²", 1.0, white.mean((1, 2)))
    twice = Trace(torch.zeros(3, 1), (latent, latent), q)
    yield worst("rate of two groups of latents", 2 * exact, twice.kl[0])


def linear_gaussian(setting: Setting) -> Iterator[Row]:
    """Hold elbo, distortion, rate, loss and importance weights against probabilistic PCA in closed form."""
    known = known_model()
    x = _ordered(known.draw(IMAGES, setting.seed))
    there = x.float().to(setting.device)
    log_p = known.log_p(x)
    model = known.vae(exact=True).float().to(setting.device)
    with torch.no_grad():
        log_w = model(there, samples=7).log_w
    yield worst("log w at the exact posterior: log p(x)", log_p, log_w)
    model, mu, var = beside(known, x)
    model = model.to(setting.device)
    distortion, rate = known.distortion(x, mu, var).mean(), oracle.standard_kl(mu, var).mean()
    samples = setting.many(2000)
    with torch.no_grad():
        error = mean_of(model(there, samples=samples).log_px.mean(1))[1]
    blocks = ((part, None) for part in there.split([31, 17, 8, 4]))  # blocks that differ in size and in elbo
    found = metrics.evaluate(model, Elbo(), blocks, step=0, samples=samples)
    yield computed("images that are evaluated", IMAGES, found["images"])
    for name, exact in (("distortion", distortion), ("rate", rate), ("elbo", -(distortion + rate))):
        value = float(exact)
        yield Row(f"{name}, evaluated", value, found[name], rounding(value), None if name == "rate" else error)
    for beta in (1.0, 4.0):
        objective = Elbo({"distortion": Distortion(), "kl": KL(weight=beta)}, samples=samples)
        loss = objective(model, there).losses["model"]
        value = float(distortion + beta * rate)
        yield Row(f"loss at β = {beta:g}", value, float(loss.detach()), rounding(value), error)


def importance(setting: Setting) -> Iterator[Row]:
    """Hold importance bounds and the estimate of log p(x) against probabilistic PCA."""
    known = known_model()
    x = known.draw(IMAGES, setting.seed)
    there, log_p = x.float().to(setting.device), known.log_p(x)
    model, mu, var = beside(known, x)
    model = model.to(setting.device)
    exact, repeats, before = float(log_p.mean()), setting.many(1000), None
    for k in (1, 5, 25):
        bound = torch.stack([_bounds(model, there, k, 50) for _ in range(repeats // 50)])
        mean, error = mean_of(bound)
        if before is None:
            yield drawn("bound of 1 sample: the elbo", float(known.elbo(x, mu, var).mean()), bound)
        else:
            last, deviation = before
            spread = math.hypot(error, deviation)
            yield Row(f"bound of {k} samples, at least as high", last, mean, 0.0, spread, sense="at least")
        yield Row(
            f"bound of {k} sample{'s' * (k > 1)}, below log p(x)", exact, mean, rounding(exact), error, sense="at most"
        )
        before = mean, error
    some, samples = slice(0, setting.many(40)), setting.many(5000)
    found = metrics.log_likelihood(model, there[some], samples=samples, rows=1777)
    with torch.no_grad():
        weights = (model(there[some], samples=samples).log_w.cpu().double() - log_p[some]).exp()
    relative = float(weights.var(0).mean())  # of the weights: the bias is half of it over K
    error = (relative / (samples * len(found))) ** 0.5
    value = float(log_p[some].mean())
    yield Row("log p(x), estimated", value, float(found.mean()), rounding(value) + relative / samples, error)
    model = known.vae(exact=True).float().to(setting.device)
    found = metrics.log_likelihood(model, there[:5], samples=7, rows=3)
    yield worst("log p(x), estimated from the exact posterior", log_p[:5], found)


def finite(setting: Setting) -> Iterator[Row]:
    """Hold a model of finitely many states and images against sums over all of them."""
    known = oracle.Finite.draw(states=4, pixels=3, seed=setting.seed)
    model = known.vae().float().to(setting.device)
    x = known.images().to(setting.device)
    repeats = setting.many(20_000)
    with torch.no_grad():
        trace = model(x, samples=repeats)
    q = known.table.softmax(1)
    rate = (q * (known.table.log_softmax(1) - known.prior.log_softmax(0))).sum(1)
    yield worst("rate, by enumeration", rate, trace.kl[0])
    yield drawn("elbo, by enumeration", float(known.bound(1).mean()), (trace.log_px - trace.kl).mean(1))
    log_w = trace.log_w.cpu().double()
    two = log_w.reshape(repeats // 2, 2, -1).logsumexp(1) - math.log(2)
    yield drawn("bound of 2 samples, by enumeration", float(known.bound(2).mean()), two.mean(1))
    yield drawn("Σ p(x) over all images", 1.0, log_w.exp().sum(1))
    samples = setting.many(5000)
    found = metrics.log_likelihood(model, x, samples=samples)
    relative = ((2 * known.log_joint() - known.table.log_softmax(1)).logsumexp(1) - 2 * known.log_p()).exp() - 1
    error = float(relative.sum() / samples) ** 0.5 / len(x)
    bias = float(relative.max()) / samples
    exact = float(known.log_p().mean())
    yield Row("log p(x), by enumeration", exact, float(found.mean()), rounding(exact) + bias, error)


def training(setting: Setting) -> Iterator[Row]:
    """Train a linear VAE by the library's own steps: its elbo comes near the greatest likelihood of any such model.

    Reference: Don't blame the ELBO! A linear VAE perspective on posterior collapse (Lucas et al., 2019): all its
    maxima are global, and there the bound is tight.
    """
    x = known_model().draw(1000, setting.seed).float()
    best = oracle.principal(x, LATENTS)
    source = data.tensor(x, validation=0, test=0).to(setting.device)
    q = posterior.Gaussian(nn.Identity(), LATENTS, features=PIXELS)
    px = likelihood.Gaussian(nn.Linear(LATENTS, PIXELS), sigma="learned")
    model = VAE(q, prior.Standard(LATENTS), px).to(setting.device)
    objective = Elbo()
    precision: Literal["float32", "bfloat16"] = "bfloat16" if setting.bfloat16 else "float32"
    plan = Plan(lr=0.1, batch=500, epochs=75 if setting.quick else 200, precision=precision)
    state = start(model, objective, plan, len(x))
    for _ in train(state, source, steps=plan.steps(len(x)), batch=plan.batch, seed=setting.seed):
        pass
    model.eval()
    samples = setting.many(250)
    with torch.no_grad():
        trace = model(source.train.images(), samples=samples)
        error = mean_of(trace.log_px.mean(1))[1]
    found = metrics.evaluate(model, objective, source.blocks("train", 300), step=state.step, samples=samples)
    exact = float(best.log_p(x).mean())
    yield Row("elbo of a linear VAE that was trained", exact, found["elbo"], 0.03, error, note="the best there can be")
    yield computed("σ of a linear VAE that was trained", best.sigma, px.log_sigma.exp(), tolerance=0.02)


def decomposition(setting: Setting) -> Iterator[Row]:
    r"""Hold mutual information, total correlation and dimension-wise KL against those of Gaussian codes.

    .. math:: z|x \sim \mathcal N(m(x), s^2 I), \; m \sim \mathcal N(0, M), \qquad
        \mathrm{MI} = \tfrac12 \log \frac{\det S}{s^{2D}}, \quad
        \mathrm{TC} = \tfrac12 \log \frac{\prod_d S_{dd}}{\det S}, \quad
        \mathrm{KL}_d = \tfrac12 (S_{dd} - 1 - \log S_{dd}), \quad S = M + s^2 I

    The estimate of q(z) from a batch has no bias, and is held against the density itself. That of its logarithm has
    one, which falls with the size of the batch, and is below a hundredth of a nat here.
    """
    s, batch, images = 0.6, 400, 10**6
    spread = torch.tensor([[1.0, 0.7], [0.7, 1.0]])
    total = (spread + s**2 * torch.eye(2)).double()
    aggregate = torch.distributions.MultivariateNormal(torch.zeros(2).double(), total)
    root, p = torch.linalg.cholesky(spread), prior.Standard(2).to(setting.device)()
    term, found = Decomposed(images=images), []
    for _ in range(setting.many(100)):
        m = torch.randn(batch, 2) @ root.T
        params = torch.cat([m, torch.full((batch, 2), 2 * math.log(s))], 1).to(setting.device)
        q = posterior.Gaussian(nn.Identity(), 2, features=1).dist(params)
        latent = Latent(draw(q, 1)[0], q, p)
        few = Latent(latent.z[:, :FEW], posterior.Gaussian(nn.Identity(), 2, features=1).dist(params[:FEW]), p)
        log_q = log_aggregate(few, log_weights(FEW, images).to(few.z))[0].cpu().double()
        share = (log_q - aggregate.log_prob(few.z.cpu().double())).exp().mean()
        found.append(term(Trace(m, (latent,), q), 0).terms | {"rate": latent.kl.mean(), "share": share})
    yield drawn("stratified estimate of q(z), over q(z)", 1.0, _every(found, "share"))
    logdet, each = total.logdet(), total.diagonal()
    exact = {
        "mi": 0.5 * (logdet - 4 * math.log(s)),
        "tc": 0.5 * (each.log().sum() - logdet),
        "dimension_kl": 0.5 * (each - 1 - each.log()).sum(),
    }
    for name, value in exact.items():
        yield drawn(f"{name.replace('_', ' ')} of Gaussian codes", float(value), _every(found, name), tolerance=0.02)
    parts = torch.stack([_every(found, name) for name in exact]).sum(0)
    yield drawn("mi + tc + dimension kl, less the rate", 0.0, parts - _every(found, "rate"))


def _every(found: list[dict[str, Tensor]], name: str) -> Tensor:
    return torch.stack([terms[name].cpu().double() for terms in found])


def convolutions(setting: Setting) -> Iterator[Row]:
    """Hold the convolutions, whose kernels are chosen by device and precision, against torch's in float64."""
    for precision in (torch.float32, *([torch.bfloat16] if setting.bfloat16 else [])):
        loose = precision == torch.bfloat16 or setting.device.type != "cpu"  # CUDA may round to TF32
        for layer, shape in ((Down(1, 32), (8, 1, 15, 12)), (Down(32, 8), (8, 32, 14, 10)), (Up(8, 1), (8, 8, 7, 5))):
            x = torch.randn(shape)
            exact = _through(layer, x, None)
            found = _through(layer.to(setting.device), x.to(setting.device), precision)
            off = [(b.cpu().double() - a).abs().max() / a.abs().max() for a, b in zip(exact, found, strict=True)]
            name = f"{type(layer).__name__} {layer.in_channels} → {layer.out_channels}, {str(precision)[6:]}"
            yield computed(f"values and gradients of {name}: off by", 0.0, max(off), tolerance=0.04 if loose else 1e-5)


def _through(layer: Down | Up, x: Tensor, precision: torch.dtype | None) -> list[Tensor]:
    """Give a layer's values and gradients; by torch's plain function, in float64, where no precision is said."""
    w, b = (p.detach().clone() for p in (layer.weight, layer.bias) if p is not None)
    if precision is None:
        x, w, b = (t.cpu().double().requires_grad_() for t in (x, w, b))
        two = {"stride": 2, "padding": 1}
        y = F.conv2d(x, w, b, **two) if isinstance(layer, Down) else F.conv_transpose2d(x, w, b, **two)
        weight = w
    else:
        x, weight = x.requires_grad_(), layer.weight
        with torch.autocast(x.device.type, torch.bfloat16, enabled=precision == torch.bfloat16):
            y = layer(x)
    weigh = torch.cos(torch.arange(y.numel())).reshape(y.shape).to(y)
    return [y.detach(), *torch.autograd.grad((y * weigh).sum(), (x, weight))]


def known_model() -> oracle.Linear:
    """Give the linear-Gaussian model of the checks; the columns of W are orthogonal, so its posterior is diagonal."""
    g = torch.Generator().manual_seed(3)
    q, _ = torch.linalg.qr(torch.randn(PIXELS, LATENTS, generator=g, dtype=torch.float64))
    b = torch.randn(PIXELS, generator=g, dtype=torch.float64)
    return oracle.Linear(q * torch.tensor([1.8, 0.8], dtype=torch.float64), b, SIGMA)


def beside(known: oracle.Linear, x: Float[Tensor, "N D"]) -> tuple[VAE, Float[Tensor, "N L"], Float[Tensor, "N L"]]:
    """Give the VAE of a known model with a posterior that is too wide and off its place, and that posterior's moments.

    Wider than the exact one, so that importance weights are bounded.
    """
    model = known.vae(exact=True)
    weights = dict(model.posterior.named_parameters())
    weights["mu.bias"].data += 0.3
    weights["logvar.bias"].data += 0.6
    mu, cov = known.posterior(x)
    return model.float(), mu + 0.3, (cov.diagonal() * math.exp(0.6)).expand(len(x), -1)


def _ordered(x: Tensor) -> Tensor:
    return x[x.square().sum(1).argsort()]


def _bounds(model: VAE, x: Tensor, k: int, repeats: int) -> Tensor:
    """Draw the bound of k samples, as the mean over the images, so many times."""
    with torch.no_grad():
        log_w = model(x, samples=k * repeats).log_w.reshape(repeats, k, -1)
    found: Tensor = (log_w.logsumexp(1) - math.log(k)).mean(1)
    return found
