"""InfoMEC: modularity, compactness and explicitness in shares of information."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, final

import torch
from jaxtyping import Bool, Float, Float64, Int, Int64
from torch import Tensor

from lowerbound.errors import UsageError
from lowerbound.metrics.bounds import SEED
from lowerbound.metrics.disentanglement.base import checked, halves, learnable
from lowerbound.metrics.disentanglement.information import entropies
from lowerbound.metrics.disentanglement.probes import logistic, scikit, version

NEIGHBOURS = 10  # of the estimator of information, as in the authors' code
NARROW = 1 / 20  # of the widest latent's range: a latent of less is out of use, as in the authors' code
STRENGTH = 1e4  # of the probes: hardly regularised, where the authors' have no penalty


@final
@dataclass(frozen=True)
class InfoMECScores:
    """Modularity, compactness and explicitness by information.

    Arguments:
        modularity: InfoM, 1 where each latent in use tells of one factor only.
        compactness: InfoC, 1 where each factor is told by one latent only; None where one latent is in use.
        explicitness: InfoE, 1 where a linear probe of all latents tells every factor, 0 where it tells nothing.
        each: InfoE of each factor.
        information: I(z_j; v_k) / H(v_k) of each latent and factor.
        active: which latents are in use.
        settings: of the estimators.
    """

    modularity: float
    compactness: float | None
    explicitness: float
    each: Float64[Tensor, " F"]
    information: Float64[Tensor, "D F"]
    active: Bool[Tensor, " D"]
    settings: Mapping[str, Any]


def infomec(
    codes: Float[Tensor, "N D"], factors: Int[Tensor, "N F"], *, neighbours: int = NEIGHBOURS, seed: int = SEED
) -> InfoMECScores:
    r"""Give InfoM, InfoC and InfoE.

    .. math:: \mathrm{InfoM} = \frac{\frac1{D'} \sum_j \frac{\max_k M_{jk}}{\sum_k M_{jk}} - \frac1F}{1 - \frac1F},
        \quad \mathrm{InfoC} = \frac{\frac1F \sum_k \frac{\max_j M_{jk}}{\sum_j M_{jk}} - \frac1{D'}}{1 - \frac1{D'}},
        \quad \mathrm{InfoE} = \frac1F \sum_k \frac{H_\varnothing(v_k) - H_{\mathcal V}(v_k | z)}{H_\varnothing(v_k)}

    M_jk = I(z_j; v_k) / H(v_k), where I is estimated from nearest neighbours (Ross, 2014), which needs no bins; j runs
    over the D' latents whose range is more than a twentieth of the widest. H_V is the cross-entropy of a softmax
    regression, and that without a latent is the frequencies'; both are taken on the half of the images that they were
    not fitted to, where the authors' code takes it on the images of the fit. So InfoE may be below 0, where a probe has
    learned noise. A probe is linear: of a factor of many values it is below 1 even if one latent is that factor. A
    latent in use that says nothing has InfoM of the ratio of noise: read it beside InfoE. Needs scikit-learn.

    Reference: Disentanglement via latent quantization (Hsu, Dorrell, Whittington, Wu and Finn, 2023).

    Arguments:
        codes, factors: a row for each image.
        neighbours: of the estimator of information.
        seed: of halves and of the estimator's tiny noise, which parts codes that are equal.

    Raises UsageError where scikit-learn is missing, no latent varies, or a factor has one value in the half that
    probes are fitted to.
    """
    z, v = checked(codes, factors, least=1)
    if neighbours < 1:
        raise UsageError(f"neighbours is {neighbours}: at least 1 is needed.")
    wide = z.max(0).values - z.min(0).values
    active = wide > wide.max() * NARROW
    if not bool(active.any()):
        raise UsageError("No latent varies over these images: all codes are one point.")
    information = _neighbours(z, v, neighbours, seed) / entropies(v)
    used = information[active]
    each = _explicit(z, v, seed)
    settings = {"neighbours": neighbours, "narrow": NARROW, "C": STRENGTH, "seed": seed, "images": len(z), **version()}
    compact = _share(used.T) if len(used) > 1 else None
    return InfoMECScores(_share(used), compact, float(each.mean()), each, information, active, settings)


def _share(information: Float64[Tensor, "n m"]) -> float:
    """How much of each row's sum its largest entry is, brought to 0 for equal ones and 1 for one alone."""
    total, m = information.sum(1), information.shape[1]
    share = torch.where(total > 0, information.max(1).values / total.clamp(min=1e-300), 1 / m)
    return float((share.mean() - 1 / m) / (1 - 1 / m))


def _neighbours(
    z: Float64[Tensor, "N D"], v: Int64[Tensor, "N F"], neighbours: int, seed: int
) -> Float64[Tensor, "D F"]:
    estimate = scikit("feature_selection").mutual_info_classif
    deviation = z.std(0)
    x = ((z - z.mean(0)) / deviation.where(deviation > 0, torch.ones_like(deviation))).numpy()
    arguments = {"discrete_features": False, "n_neighbors": neighbours, "random_state": seed % 2**32}
    columns = [torch.from_numpy(estimate(x, column.numpy(), **arguments)) for column in v.T]
    return torch.stack(columns, 1).double()


def _explicit(z: Float64[Tensor, "N D"], v: Int64[Tensor, "N F"], seed: int) -> Float64[Tensor, " F"]:
    """The share of each factor's entropy that a linear probe takes away, on held-out images."""
    train, test = halves(len(z), seed)
    learnable(v[train])
    shares = []
    for column in v.T:
        known = test[torch.isin(column[test], column[train])]  # of another value neither can say anything
        probe = logistic(z[train], column[train], z[known], strength=STRENGTH)
        place = torch.searchsorted(probe.classes, column[known])
        frequency = (column[train].bincount()[probe.classes] / len(train)).double()
        without = -frequency.log()[place].mean()
        given = -probe.probabilities.clamp(min=1e-300).log().gather(1, place[:, None]).mean()
        shares.append((without - given) / without)
    return torch.stack(shares)
