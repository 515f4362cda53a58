"""What belongs beside the figures: the β of codes that average where a sum belongs, and the prior they are under."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, final

from lowerbound.errors import UsageError


@final
@dataclass(frozen=True)
class Convention:
    """A way to write the loss, and the weight of the KL in it that trains the same model.

    Arguments:
        name: a short key.
        loss: what is minimised there, in words.
        factor: what β is to be multiplied by.
        beta: the weight there.
    """

    name: str
    loss: str
    factor: float
    beta: float


def conventions(
    beta: float, *, dimensions: int, latents: int, batch: int, images: int, sigma: float | None = None
) -> list[Convention]:
    r"""Give the weight of the KL in other conventions that has the gradient of this β, up to a constant.

    .. math:: a R + w K \propto R + \beta K \iff w = a \beta, \qquad
        R = -\log p(x|z), \quad K = \mathrm{KL}(q(z|x) \| p(z))

    R is summed over the D pixels and K over the L latents, and both are means over the batch of B. So a mean over the
    pixels is a = 1/D, one over the latents too is w = β L / D (the β_norm of Higgins et al.), R summed over the batch
    beside a mean K is a = B, and K summed over it beside a mean R divides w by B. PyTorch-VAE weighs K by
    kld_weight = B/N of N images, and its own β stands beside that: w = β_there B/N.

    Codes of a Gaussian minimise the squared error S, and R = S / 2σ² and a constant: where R stands above they have
    S = 2σ² R, and a is 2σ² times that. Half of S is the Gaussian of σ = 1. The same holds for the networks under a
    learned σ as it is now, but not for σ itself.

    Raises UsageError where a number is not positive.

    Reference: β-VAE: learning basic visual concepts with a constrained variational framework (Higgins et al., 2017).

    Arguments:
        beta: β here, 0 or more.
        dimensions: D, the numbers of one example.
        latents: L.
        batch: B, images a step.
        images: N, of the training split.
        sigma: of a Gaussian p(x|z) with one σ; None of other likelihoods.

    Example:
        >>> found = conventions(4.0, dimensions=784, latents=16, batch=128, images=60_000)
        >>> {each.name: round(each.beta, 5) for each in found if each.name in ("sums", "pixel-mean", "beta-norm")}
        {'sums': 4.0, 'pixel-mean': 0.0051, 'beta-norm': 0.08163}
    """
    counts = {"dimensions": dimensions, "latents": latents, "batch": batch, "images": images}
    sizes = {**counts, "sigma": 1.0 if sigma is None else sigma}
    wrong = [f"{name} is {value}" for name, value in sizes.items() if not (math.isfinite(value) and value > 0)]
    if wrong or not (math.isfinite(beta) and beta >= 0):
        raise UsageError(f"{', '.join(wrong) or f'beta is {beta}'}: β is 0 or more, and the others lie above 0.")
    a = 1.0 if sigma is None else 2 * sigma**2
    error = "−log p(x|z)" if sigma is None else "squared error"
    kl = "KL summed over the latents"
    found = [("sums", "−log p(x|z) and KL summed, as here", 1.0)]
    if sigma is not None:
        found += [
            ("squares", f"squared error summed, {kl}", a),
            ("half-squares", f"half the squared error summed, {kl}", a / 2),
        ]
    found += [
        ("pixel-mean", f"mean {error} over pixels, {kl}", a / dimensions),
        ("pixel-latent-mean", f"mean {error} over pixels, mean KL over latents", a * latents / dimensions),
        (
            "pixel-mean-batch-sum",
            f"mean {error} over pixels and batch, KL summed over the batch",
            a / dimensions / batch,
        ),
        ("batch-sum", f"{error} summed over pixels and batch, mean KL over the batch", a * batch),
        (
            "kld-weight",
            f"mean {error} over pixels, β beside kld_weight = batch / images",
            a / dimensions * images / batch,
        ),
        ("beta-norm", "β_norm = β · latents / pixels (Higgins et al. 2017)", latents / dimensions),
    ]
    return [Convention(name, loss, factor, beta * factor) for name, loss, factor in found]


def fitted_note(found: Mapping[str, Any], kind: str) -> list[str]:
    """Say under which prior elbo, rate and loss are where one was fitted, and what a loss below the distortion is.

    Arguments:
        found: as `evaluate` gives it.
        kind: of the fit.

    Example:
        >>> len(fitted_note({"distortion": 4.0, "loss": 3.9}, "mixture")), len(fitted_note({"distortion": 4.0}, "flow"))
        (2, 1)
    """
    which = "The loss is" if found.get("elbo") is None else "Rate, elbo and loss are"
    notes = [f"{which} under the prior that was fitted to the codes afterwards ({kind}), not under the training's."]
    if found.get("loss") is not None and found["loss"] < found["distortion"]:
        notes.append(
            "The loss lies below the distortion: the fitted prior is a density, whose logarithm is above 0 where the "
            "codes are dense, and −log p(z) is then negative."
        )
    return notes
