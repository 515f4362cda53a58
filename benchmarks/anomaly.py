"""Anomaly scores: one digit against the rest of MNIST, and MNIST against Fashion-MNIST both ways.

    .venv-bench/bin/python benchmarks/anomaly.py      # about ten minutes on two cores

One against the rest, the usual protocol: a model is trained on the training images of one digit, which is normal; of
the test images that digit is normal and the other nine are anomalous. Between sets, a model is trained on one, whose
test images are normal and those of the other are anomalous. All are the first ones of the test files; every method sees
the same images. Given are areas under the ROC curve with their 95 % intervals, and for the fast scores the shares that
are flagged at the threshold that lowerbound score sets at 5 %.
"""

import argparse
import shutil
import statistics
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from common import save

import lowerbound
from lowerbound.data import SOURCES, Source, Split

METHODS = {"elbo": "validation", "importance": "none", "reconstruction": "validation", "regret": "none"}
ALARMS = 0.05
SETS = ("mnist", "fashion-mnist")
EIGHT_BIT = ["model.likelihood.kind=discretised-logistic"]


def only(source: Source, digit: int) -> Source:
    """Keep the images of one digit in the training and validation splits; the test split stays as it is."""

    def kept(split: Split) -> Split:
        assert split.labels is not None
        return replace(split, rows=split.rows[split.labels[split.rows] == digit])

    return replace(source, name=f"{source.name}-{digit}", train=kept(source.train), validation=kept(source.validation))


def measured(run: lowerbound.Run, images: int, **how: Any) -> dict[str, Any]:
    """Give for each method the area under the curve, the shares flagged and the seconds that it took."""
    found = {}
    for method, calibrate in METHODS.items():
        begun = time.perf_counter()
        scores = lowerbound.score(run, method=method, images=images, false_alarms=ALARMS, calibrate=calibrate, **how)
        assert scores.area is not None
        area = {name: None if value is None else round(value, 4) for name, value in vars(scores.area).items()}
        shares = {f"flagged of {kind}": round(share, 4) for kind, share in scores.rates().items()}
        found[method] = {**area, **shares, "seconds": round(time.perf_counter() - begun, 1)}
        print(f"  {run.path.name} {method}: {found[method]}", flush=True)
    return found


def digits(place: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Train on each digit and score it against the other nine."""
    whole, each = SOURCES["mnist"](validation=5000), {}
    for digit in range(options.digits):
        run = lowerbound.fit(
            only(whole, digit), epochs=options.epochs, latents=options.latents, seed=options.seed,
            out=place / f"digit-{digit}", progress=False,
        )  # fmt: skip
        others = ",".join(str(other) for other in range(10) if other != digit)
        each[str(digit)] = measured(run, options.images, anomalous=others)
    mean = {m: round(statistics.fmean(found[m]["value"] for found in each.values()), 4) for m in METHODS}
    return {"mean area": mean, "each": each}


def sets(place: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Train on one set and score it against the other."""
    found = {}
    for normal, odd in (SETS, SETS[::-1]):
        run = lowerbound.fit(
            normal, epochs=options.set_epochs, seed=options.seed, set=EIGHT_BIT, out=place / normal, progress=False
        )
        found[f"{normal} normal, {odd} anomalous"] = measured(run, options.set_images, against=odd)
    return found


def main() -> None:
    """Train, score and write the result file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--digits", type=int, default=10)
    parser.add_argument("--images", type=int, default=400, help="of the test split, for one digit against the rest")
    parser.add_argument("--epochs", type=float, default=6, help="over one digit, a tenth of MNIST")
    parser.add_argument("--latents", type=int, default=16)
    parser.add_argument("--set-images", type=int, default=150, help="of each of the two sets")
    parser.add_argument("--set-epochs", type=float, default=1)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(2)
    place, begun = Path(tempfile.mkdtemp()), time.perf_counter()
    try:
        found = {"one digit against the rest": digits(place, options), "between sets": sets(place, options)}
    finally:
        shutil.rmtree(place)
    save("anomaly", {"settings": vars(options), "likelihood between sets": EIGHT_BIT, "false alarms": ALARMS, **found,
                     "seconds": round(time.perf_counter() - begun)})  # fmt: skip


if __name__ == "__main__":
    main()
