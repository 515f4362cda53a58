"""DCI: how one-sided the importance of latents to predictors of each factor is, and how well they predict."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, final

import torch
from jaxtyping import Float, Float64, Int
from torch import Tensor

from lowerbound.errors import UsageError
from lowerbound.metrics.bounds import SEED
from lowerbound.metrics.disentanglement.base import checked, halves, learnable
from lowerbound.metrics.disentanglement.probes import scikit, version

# every setting that decides is said, so that another default of another version changes nothing unsaid
PROBES: dict[str, tuple[str, dict[str, Any]]] = {
    "forest": (
        "RandomForestClassifier",
        # all latents are looked at in each split: else those that say nothing get a share of the importance
        {"n_estimators": 50, "max_depth": None, "min_samples_leaf": 5, "max_features": 1.0, "criterion": "gini"},
    ),
    "boosting": (
        "GradientBoostingClassifier",
        {"n_estimators": 100, "learning_rate": 0.1, "max_depth": 3, "subsample": 1.0, "max_features": None},
    ),
}


@final
@dataclass(frozen=True)
class DCIScores:
    """Disentanglement, completeness and informativeness, and what they are read off.

    Arguments:
        disentanglement: how far a latent matters to one factor only, from 0 to 1.
        completeness: how far one latent only matters to a factor, from 0 to 1.
        informativeness: the accuracy of the predictors on held-out images, the mean over factors.
        accuracy: of each factor; by chance it is one over its number of values.
        importance: of each latent to each factor's predictor; the columns sum to 1.
        settings: of the predictors.
    """

    disentanglement: float
    completeness: float
    informativeness: float
    accuracy: Float64[Tensor, " F"]
    importance: Float64[Tensor, "D F"]
    settings: Mapping[str, Any]


def dci(
    codes: Float[Tensor, "N D"],
    factors: Int[Tensor, "N F"],
    *,
    probe: Literal["forest", "boosting"] = "forest",
    seed: int = SEED,
    progress: Callable[[int, int], None] | None = None,
) -> DCIScores:
    r"""Give disentanglement, completeness and informativeness of tree ensembles that predict each factor from a code.

    .. math:: D = \sum_j \frac{\sum_k R_{jk}}{\sum_{jk} R_{jk}} \Bigl(1 - H_F\Bigl(\frac{R_{j\cdot}}{\sum_k R_{jk}}
        \Bigr)\Bigr), \qquad C = \frac1F \sum_k \bigl(1 - H_D(R_{\cdot k})\bigr)

    R_jk is the importance of latent j to the predictor of factor k, which is the impurity that its splits take away,
    and H_n an entropy to the base n. The predictors are fitted on one half of the images; informativeness is their
    accuracy on the other. Where a factor cannot be predicted its importances are those of noise: see the accuracy of
    each. Trees see no scale, so the mean of an unused latent may matter to them. Needs scikit-learn.

    Reference: A framework for the quantitative evaluation of disentangled representations (Eastwood and Williams,
    2018).

    Arguments:
        codes, factors: a row for each image, and two latents at least.
        probe: a random forest, or gradient boosting as in disentanglement_lib, which takes many times longer.
        seed: of halves and trees.
        progress: is told how many factors are done.

    Raises UsageError where scikit-learn is missing, or a factor has one value in the half that probes are fitted to.
    """
    z, v = checked(codes, factors)
    if probe not in PROBES:
        raise UsageError(f"There is no probe {probe!r}: it is one of {', '.join(PROBES)}.")
    name, arguments = PROBES[probe]
    ensemble = getattr(scikit("ensemble"), name)
    train, test = halves(len(z), seed)
    learnable(v[train])
    importance, accuracy = [], []
    for k, column in enumerate(v.T):
        model = ensemble(**arguments, random_state=seed % 2**32)
        model.fit(z[train].numpy(), column[train].numpy())
        importance.append(torch.from_numpy(model.feature_importances_).double())
        accuracy.append(float((torch.from_numpy(model.predict(z[test].numpy())) == column[test]).double().mean()))
        if progress:
            progress(k + 1, v.shape[1])
    r, each = torch.stack(importance, 1), torch.tensor(accuracy, dtype=torch.float64)
    weights = r.sum(1) / r.sum()
    settings = {"probe": name, **arguments, "seed": seed, "images": len(z), **version()}
    return DCIScores(
        float((weights * one_sided(r)).sum()), float(one_sided(r.T).mean()), float(each.mean()), each, r, settings
    )


def one_sided(r: Float64[Tensor, "n m"]) -> Float64[Tensor, " n"]:
    """Give for each row 1 where one entry has all its weight, 0 where all have the same, or none has any."""
    p = r / r.sum(1, keepdim=True).clamp(min=1e-300)
    entropy = -p.xlogy(p).sum(1) / math.log(r.shape[1])
    return torch.where(r.sum(1) > 0, 1 - entropy, torch.zeros_like(entropy))
