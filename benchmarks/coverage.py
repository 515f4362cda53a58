"""How often an interval of log p(x) by importance sampling holds the exact one, and whether k̂ says when it does not.

    python benchmarks/coverage.py      # ten seconds on one core

One image of a linear-Gaussian model, of which log p(x) is known exactly, under posteriors that are wrong by so many of
the exact one's standard deviations: each row has so many independent estimates, each with its own interval of
± 1.96 standard errors, from the weights themselves and by the jackknife.
"""

import argparse
import math
from typing import Any

import torch
from common import save

from lowerbound import oracle, rng
from lowerbound.metrics import Estimates

# (shift of the mean, scale, samples): wrong by a little, by more, too wide, and too narrow, where no error can hold
CASES = [
    (0.3, 1.2, 50),
    (0.3, 1.2, 300),
    (0.3, 1.2, 2000),
    (1.0, 1.5, 300),
    (0.0, 3.0, 300),
    (0.0, 0.8, 300),
    (0.0, 0.8, 2000),
    (0.0, 0.2**0.5, 300),
    (0.0, 0.2**0.5, 2000),
]


def covered(value: torch.Tensor, error: torch.Tensor, exact: float) -> float | None:
    """Give the share of intervals that hold the exact value; None of none."""
    held = (value - exact).abs() <= 1.96 * error
    return float(held.double().mean()) if len(held) else None


def case(shift: float, scale: float, samples: int, trials: int, seed: int) -> dict[str, Any]:
    """Estimate log p(x) ``trials`` times under a posterior of this shift and scale."""
    known = oracle.Linear(torch.tensor([[1.5, 0.0], [0.0, 0.6], [0.5, 0.0]]).double(), torch.zeros(3).double(), 0.7)
    vae, x = known.vae(exact=True), known.draw(1, seed=4)
    with torch.no_grad():
        vae.posterior.mu.bias += shift * (0.5 * vae.posterior.logvar.bias).exp()
        vae.posterior.logvar.bias += 2 * math.log(scale)
        exact = float(known.log_p(x))
        parts = []
        for start in range(0, trials, 500):
            with rng.noise(seed, "coverage", start):
                parts.append(Estimates.of(vae(x.expand(min(500, trials - start), -1), samples=samples).log_w))
    found = Estimates.joined(parts)
    assert found.k_hat is not None
    light = found.k_hat < 0.5
    return {
        "shift": shift,
        "scale": scale,
        "samples": samples,
        "effective samples, median": float(found.effective.median()),
        "k-hat, median": float(found.k_hat.median()),
        "k-hat below 1/2": float(light.double().mean()),
        "not to be trusted": (found.doubtful or 0) / trials,
        "bias": float((found.log_p - exact).mean()),
        "bias, jackknife": float((found.jackknife - exact).mean()),
        "deviation": float(found.log_p.std()),
        "coverage": covered(found.log_p, found.error, exact),
        "coverage, jackknife": covered(found.jackknife, found.jackknife_error, exact),
        "coverage where k-hat is below 1/2": covered(found.log_p[light], found.error[light], exact),
    }


def main() -> None:
    """Measure all cases."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    rows = [case(*row, options.trials, options.seed) for row in CASES]
    save("coverage", {"trials": options.trials, "seed": options.seed, "nominal": 0.95, "cases": rows})


if __name__ == "__main__":
    main()
