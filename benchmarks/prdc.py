"""Precision, recall, density and coverage in the setting of the paper's own check, and by scikit-learn's distances.

    python benchmarks/prdc.py      # about two minutes on one core

Two sets of 10,000 draws of N(0, I) in 1,000 dimensions, k = 5: the code that came with the paper (Naeem et al., 2020)
says about .4772, .4705, 1.0555 and .9735 of one such draw. Here are three, each by lowerbound and by the distances
of scikit-learn; of two sets of one distribution coverage is 1 − Π (N − i) / (M + N − i) on average, and density 1.
"""

import argparse
import time
from dataclasses import asdict
from typing import Any

import numpy as np
import torch
from common import save
from sklearn.metrics import pairwise_distances_chunked

from lowerbound import metrics

PAPER = {"precision": 0.4772, "recall": 0.4705, "density": 1.0555, "coverage": 0.9735}
SEEDS, K = (0, 1, 2), 5


def reference(x: np.ndarray, y: np.ndarray) -> dict[str, float]:
    """Give the four by scikit-learn's distances."""
    r, s = (
        np.concatenate([np.partition(part, K, axis=1)[:, K] for part in pairwise_distances_chunked(v)]) for v in (x, y)
    )
    reaching, covered, recalled, start = np.zeros(len(y), int), [], [], 0
    for part in pairwise_distances_chunked(x, y):
        within = part <= r[start : start + len(part), None]
        reaching += within.sum(0)
        covered.append(within.any(1))
        recalled.append((part <= s).any(1))
        start += len(part)
    return {
        "precision": float((reaching > 0).mean()),
        "recall": float(np.concatenate(recalled).mean()),
        "density": float(reaching.mean() / K),
        "coverage": float(np.concatenate(covered).mean()),
    }


def main() -> None:
    """Measure three draws."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--number", type=int, default=10_000)
    parser.add_argument("--features", type=int, default=1000)
    options = parser.parse_args()
    found: list[dict[str, Any]] = []
    for seed in SEEDS:
        generator = torch.Generator().manual_seed(seed)
        x, y = torch.randn(2, options.number, options.features, generator=generator, dtype=torch.float64)
        begun = time.perf_counter()
        ours = asdict(metrics.prdc(x, y, K))
        seconds = time.perf_counter() - begun
        found.append({"seed": seed, "lowerbound": ours, "scikit-learn": reference(x.numpy(), y.numpy())})
        found[-1]["seconds"] = round(seconds, 1)
        print(found[-1], flush=True)
    setting = {"number": options.number, "features": options.features, "k": K}
    expected = {"coverage": metrics.expected_coverage(options.number, options.number, K), "density": 1.0}
    save("prdc", {"seeds": SEEDS, **setting, "paper": PAPER, "expected": expected, "draws": found})


if __name__ == "__main__":
    main()
