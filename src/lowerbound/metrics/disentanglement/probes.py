"""What scikit-learn is asked for, with all its settings said, and the score of a linear probe: explicitness."""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module, metadata
from typing import Any, final

import torch
from jaxtyping import Float, Float64, Int, Int64
from torch import Tensor

from lowerbound.errors import UsageError
from lowerbound.metrics.bounds import SEED
from lowerbound.metrics.disentanglement.base import DisentanglementScore, checked, halves, learnable

STEPS = 200  # of a probe's optimiser at most; more of them changes a probability, and hardly a guess


def scikit(module: str) -> Any:
    """Load a module of scikit-learn, an extra without type stubs; raises UsageError where it is not installed."""
    try:
        return import_module(f"sklearn.{module}")
    except ImportError as error:
        raise UsageError(
            "This score fits a probe by scikit-learn, which is not installed: pip install 'lowerbound[sklearn]'"
        ) from error


@final
@dataclass(frozen=True)
class Probe:
    """What a linear classifier that was fitted to some rows says of others."""

    classes: Int64[Tensor, " K"]
    probabilities: Float64[Tensor, "e K"]
    settings: Mapping[str, Any]

    @property
    def guesses(self) -> Int64[Tensor, " e"]:
        """The likeliest class of each."""
        return self.classes[self.probabilities.argmax(1)]


def logistic(
    x: Float64[Tensor, "t D"], y: Int64[Tensor, " t"], other: Float64[Tensor, "e D"], *, strength: float = 1.0
) -> Probe:
    """Fit a softmax regression to (x, y), and ask it about other rows; columns are brought to mean 0 and deviation 1.

    Arguments:
        x, y: what it is fitted to, by L-BFGS.
        other: what it is asked about.
        strength: scikit-learn's C: the inverse weight of the squared norm of its coefficients.
    """
    linear, warned = scikit("linear_model"), scikit("exceptions").ConvergenceWarning
    mean, deviation = x.mean(0), x.std(0)
    deviation = deviation.where(deviation > 0, torch.ones_like(deviation))
    probe = linear.LogisticRegression(C=strength, tol=1e-4, max_iter=STEPS, solver="lbfgs", fit_intercept=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", warned)  # classes that a line parts have no finite optimum: STEPS is the rule
        probe.fit(((x - mean) / deviation).numpy(), y.numpy())
    found = torch.from_numpy(probe.predict_proba(((other - mean) / deviation).numpy())).double()
    settings = {"probe": "softmax regression", "C": strength, "steps": STEPS, **version()}
    return Probe(torch.from_numpy(probe.classes_).long(), found, settings)


def version() -> dict[str, str]:
    """Say which scikit-learn it was: its scores move with it."""
    return {"scikit-learn": metadata.version("scikit-learn")}


def explicitness(codes: Float[Tensor, "N D"], factors: Int[Tensor, "N F"], *, seed: int = SEED) -> DisentanglementScore:
    r"""Say how well a linear classifier of all latents tells each value of a factor from the others.

    .. math:: \frac1F \sum_{k=1}^F \frac{1}{V_k} \sum_{v=1}^{V_k} \mathrm{AUC}\bigl(\hat p(v_k = v \,|\, z)\bigr)

    The area under the curve is 0.5 by chance and 1 at best; it is taken on the half of the images that the softmax
    regression was not fitted to. It does not ask whether latents and factors are one to one: rotating codes changes
    nothing. Needs scikit-learn.

    Reference: Learning deep disentangled embeddings with the F-statistic loss (Ridgeway and Mozer, 2018).

    Arguments:
        codes, factors: a row for each image.
        seed: of the halves.

    ``each`` is of each factor; ``matrix`` holds the same in one row.

    Raises UsageError where scikit-learn is missing, a factor has one value in the half that the probe is fitted to, or
    no value of a factor is in both halves.
    """
    z, v = checked(codes, factors, least=1)
    train, test = halves(len(z), seed)
    learnable(v[train])
    means, settings = [], {}
    for k, column in enumerate(v.T):
        probe = logistic(z[train], column[train], z[test])
        means.append(_area(probe, column[test], k))
        settings = {**probe.settings, "seed": seed, "images": len(z)}
    each = torch.tensor(means, dtype=torch.float64)
    return DisentanglementScore(float(each.mean()), each, each[None], settings)


def _area(probe: Probe, truth: Int64[Tensor, " e"], factor: int) -> float:
    """The mean over values of the area under the curve of value against rest."""
    area = scikit("metrics").roc_auc_score
    known = [i for i, value in enumerate(probe.classes.tolist()) if 0 < int((truth == value).sum()) < len(truth)]
    if not known:
        raise UsageError(f"No value of factor {factor} is in both halves of the images: give more images.")
    return sum(
        float(area((truth == probe.classes[i]).numpy(), probe.probabilities[:, i].numpy())) for i in known
    ) / len(known)
