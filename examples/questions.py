"""The five questions a listener asks after the lecture on VAEs, as docs/lecture.md answers them: its measured numbers.

    lowerbound train                  # once: it also fetches MNIST into the cache
    python examples/questions.py

It takes less than a minute and prints the tables of that page. Of its fifth answer, β = 20, this is a row of the second
table; how a new digit is made is shown by examples/nano.py, and whole trainings by `lowerbound train`.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.distributions import Independent, Normal, kl_divergence

from lowerbound import explore, likelihood, metrics, nets, posterior, prior, train
from lowerbound.data import SOURCES, Source
from lowerbound.objective import KL, Distortion, Elbo
from lowerbound.vae import VAE

STEPS, BATCH = 200, train.Plan.batch
Reward = Callable[[Tensor], Tensor]  # f(z): one number for each draw


def gradients(f: Reward, mu: Tensor, sigma: Tensor, draws: int) -> dict[str, Tensor]:
    """Estimate the gradient of E f(z), z ~ N(mu, sigma²), with respect to mu in three ways, a row for each draw."""
    mu = mu.expand(draws, -1).clone().requires_grad_()
    q = Independent(Normal(mu, sigma), 1)
    (with_it,) = torch.autograd.grad(f(q.rsample()).sum(), mu)
    z = q.sample()  # a number like any other: no gradient passes through it
    reward = f(z).detach()
    baseline = (reward.sum() - reward) / (draws - 1)  # the mean of the other draws
    (score,) = torch.autograd.grad(q.log_prob(z).sum(), mu)
    factors = {"score function": reward, "  with a baseline": reward - baseline}
    return {"reparameterised": with_it, **{name: factor[:, None] * score for name, factor in factors.items()}}


def compare(title: str, f: Reward, mu: Tensor, sigma: Tensor, exact: Tensor | None, draws: int) -> None:
    """Print how far each estimator's mean is from the exact gradient, and the variance of one draw."""
    estimates = gradients(f, mu, sigma, draws)
    print(f"\n{f'{title}, {draws:,} draws':32}{'off, in s.e.':>14}{'variance':>14}{'ratio':>10}")
    for name, rows in estimates.items():
        spread, best = rows.var(0), estimates["reparameterised"].var(0).sum()
        off = "" if exact is None else f"{((rows.mean(0) - exact).square() * draws / spread).mean().sqrt():.2f}"
        print(f"{name:32}{off:>14}{spread.sum():14.4g}{spread.sum() / best:10.1f}")


def linear_gaussian() -> None:
    """A decoder p(x|z) = N(W z, I), where the gradient of the reconstruction term is known exactly."""
    decoder = likelihood.Gaussian(nn.Linear(16, 100, bias=False), sigma=1.0)
    W = next(decoder.parameters()).detach()
    mu, sigma = torch.randn(16), torch.full((16,), 0.5)
    x = W @ torch.randn(16) + torch.randn(100)
    compare("linear-Gaussian", lambda z: decoder(z).log_prob(x), mu, sigma, W.T @ (x - W @ mu), 20_000)


def trained(source: Source, beta: float) -> VAE:
    """Train the lecture's model for some steps of the default recipe, with another β."""
    torch.manual_seed(0)
    encoder, decoder = nets.ConvEncoder((1, 28, 28)), nets.ConvDecoder(16, (1, 28, 28))
    model = VAE(posterior.Gaussian(encoder, 16), prior.Standard(16), likelihood.Bernoulli(decoder))
    objective = Elbo({"distortion": Distortion(), "kl": KL(beta)})
    plan = train.Plan(epochs=STEPS * BATCH / len(source.train), precision="float32")
    state = train.start(model, objective, plan, len(source.train))
    list(train.train(state, source, steps=STEPS, batch=BATCH))  # to its end; the records are not read
    return model


def two_terms(source: Source) -> VAE:
    """Train with three weights of the KL term, and give the model of β = 1."""
    print(f"\nthe two terms: {STEPS} steps of batch {BATCH}, then nats per image on {len(source.validation):,} others")
    print(f"{'β':>4}{'distortion':>14}{'rate':>10}{'elbo':>10}{'spread of the codes':>22}")
    models = {}
    for beta in (0.0, 1.0, 20.0):
        models[beta] = model = trained(source, beta)
        result = metrics.evaluate(model, Elbo(), source.blocks("validation"), step=0)
        codes, _ = explore.embed(model, source.blocks("validation"))
        print(f"{beta:4g}{result['distortion']:14.1f}{result['rate']:10.1f}{result['elbo']:10.1f}{codes.std():22.2f}")
    return models[1.0]


def who_learns(model: VAE, x: Tensor) -> None:
    """Print the norm of each term's gradient in the encoder and in the decoder, with and without rsample."""
    q = model.posterior(x)
    drawn = {"reparameterised": q.rsample(), "only sampled": q.sample()}
    terms = {f"distortion, z {how}": -model.likelihood(z).log_prob(x).mean() for how, z in drawn.items()}
    terms["KL"] = kl_divergence(q, model.prior()).mean()
    print(f"\n{'norm of the gradient of':32}{'encoder':>10}{'decoder':>10}")
    for name, term in terms.items():
        cells = ""
        for part in (model.posterior, model.likelihood):
            found = torch.autograd.grad(term, list(part.parameters()), retain_graph=True, allow_unused=True)
            some = [g for g in found if g is not None]
            cells += f"{nn.utils.get_total_norm(some):10.3g}" if some else f"{'none':>10}"
        print(f"{name:32}{cells}")


def wrong_pixel() -> None:
    """Print both losses' gradient at a pixel x = 0 (there the cross-entropy is softplus(l)) whose logit says ink."""
    l = torch.tensor([0.0, 2.0, 4.0, 8.0, 16.0], requires_grad=True)
    losses = {"cross-entropy": F.softplus(l).sum(), "squared error": l.sigmoid().square().sum()}
    print(f"\n{'wrong pixel, logit':20}" + "".join(f"{value:10g}" for value in l.tolist()))
    for name, loss in losses.items():
        print(f"{name:20}" + "".join(f"{value:10.2g}" for value in torch.autograd.grad(loss, l)[0].tolist()))


if __name__ == "__main__":
    torch.manual_seed(0)
    linear_gaussian()
    mnist = SOURCES["mnist"]()
    x = mnist.validation.images()
    own, mean = (F.binary_cross_entropy(p, p, reduction="sum") / len(p) for p in (x, x.mean(0)))
    grey = ((x > 0) & (x < 1)).float().mean()
    print(f"\ngrey pixels {grey:.1%}; entropy of an image {own:.1f} nats, of the mean image {mean:.1f}")
    model = two_terms(mnist)
    who_learns(model, x[:64])
    mu, logvar = model.posterior.params(x[:1])[0].detach().chunk(2)
    compare("one digit of MNIST", lambda z: model.likelihood(z).log_prob(x[0]), mu, torch.exp(0.5 * logvar), None, 4000)
    wrong_pixel()
