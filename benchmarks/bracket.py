"""How wide the bracket of log p(x) by bidirectional Monte Carlo is on trained models, and what it takes.

    python benchmarks/bracket.py                                  # some minutes on two cores
    python benchmarks/bracket.py --mlp RUN --conv RUN --images 20 # of runs that are there, and a smaller one

Two models of dynamically binarised MNIST are trained in a folder that is thrown away: an MLP 784-200-200-50 for five
epochs, and the default convolutional one for two. Each draws images itself, and their log p(x) is bracketed from both
sides: from the posterior with the settings by default, and for the MLP from the prior too, which takes more
temperatures since it is further away. Seconds are of the whole, the pilot run included. Importance sampling of the same
images stands beside them.
"""

import argparse
import tempfile
import time
from dataclasses import asdict
from typing import Any

from common import save

import lowerbound
from lowerbound.metrics import Annealing, bidirectional, importance_sampling
from lowerbound.process import tune

SEED = 0
HIDDEN = ("net.kind=mlp", "net.hidden=[200,200]")
MLP = [f"model.{part}.{how}" for part in ("posterior", "likelihood") for how in HIDDEN]
MODELS: dict[str, dict[str, Any]] = {
    "mlp": {"latents": 50, "epochs": 5, "set": ["data.binarise=dynamic", *MLP]},
    "conv": {"epochs": 2, "set": ["data.binarise=dynamic"]},
}
CASES: list[tuple[str, str, Annealing, int]] = [  # the last is the part of the images that is drawn
    ("MLP, from the posterior", "mlp", Annealing(), 1),
    ("MLP, from the prior", "mlp", Annealing("prior", temperatures=500, chains=8), 10),
    ("convolutional, from the posterior", "conv", Annealing(), 10),
]


def bracket(run: lowerbound.Run, how: Annealing, images: int) -> dict[str, Any]:
    """Give the two estimates, their gap and its limits, and what importance sampling says of the same images."""
    begun = time.perf_counter()
    found = bidirectional(run.model, images, how, seed=SEED)
    seconds = time.perf_counter() - begun
    sampled = importance_sampling(run.model, found.x, samples=5000, seed=SEED)
    low, high = found.mean_limits()
    return {
        "how": asdict(how),
        "images": images,
        "seconds": seconds,
        "seconds an image": seconds / images,
        "lower": float(found.lower.mean()),
        "upper": float(found.upper.mean()),
        "gap": float(found.gap.mean()),
        "standard error of the gap": float(found.gap.std() / images**0.5) if images > 1 else None,
        "widest gap": float(found.gap.max()),
        "limits": [low, high],
        "accepted": float(found.forward.accepted.mean()),
        "importance sampling, 5,000 samples": float(sampled.log_p.mean()),
    }


def main() -> None:
    """Train or open both models, and bracket each case."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mlp", help="a run, instead of training one")
    parser.add_argument("--conv", help="likewise")
    parser.add_argument("--images", type=int, default=200, help="drawn in the first case; the others are of a tenth")
    options = parser.parse_args()
    tune()  # as the command line does
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        given = {name: getattr(options, name) for name in MODELS}
        runs = {
            name: lowerbound.load(given[name]) if given[name] else
            lowerbound.fit("mnist", out=f"{folder}/{name}", seed=SEED, progress=False, **how)
            for name, how in MODELS.items()
        }  # fmt: skip
        for case, name, how, part in CASES:
            found[case] = bracket(runs[name], how, max(1, options.images // part))
            found[case]["test elbo"] = runs[name].metrics["test"]["elbo"]
            print(case, found[case], flush=True)
    save("bracket", {"seed": SEED, "models": MODELS, **found})


if __name__ == "__main__":
    main()
