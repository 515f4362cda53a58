"""Disentanglement on `shapes`: some recipes, each from several seeds, and the ten scores of each.

    .venv/bin/python benchmarks/disentanglement.py                          # about two hours on two cores
    .venv/bin/python benchmarks/disentanglement.py --steps 100 --seeds 2 vae  # a look

Ten latents, the default networks for 64 x 64, 50,000 of the 737,280 images; the scores are those that `lowerbound
evaluate --measure disentanglement` shows, of the 5,000 test images. Mean and deviation are over seeds, whose spread is
what methods must be held against. Rows stand in results/disentanglement.json; those of other recipes stay.
"""

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from lowerbound.omp import wait_briefly

wait_briefly()  # as the command line does, before torch is loaded

from common import HERE, machine

import lowerbound
from lowerbound import tune
from lowerbound.evaluation import examine

RECIPES = ["vae", "beta-vae", "beta-tcvae", "factor-vae"]
BATCH, COUNT = 64, 50_000


def figures(found: dict[str, Any]) -> dict[str, float]:
    """Give the scores of one run by name."""
    flat = {key: value["value"] for key, value in found.items() if isinstance(value, dict) and "value" in value}
    for key in ("dci", "infomec"):
        flat |= {f"{key} {name}": value for name, value in found[key].items() if isinstance(value, float)}
    return flat


def measure(recipe: str, seeds: int, steps: int, folder: Path) -> dict[str, Any]:
    """Train one recipe from several seeds, and give its scores over them."""
    begun, runs = time.monotonic(), []
    for seed in range(seeds):
        epochs = (steps + 0.5) * BATCH / (0.8 * COUNT)
        sets = [f"data.count={COUNT}", f"train.batch={BATCH}", "train.lr=0.001"]
        out = folder / recipe / f"seed-{seed}"
        runs.append(lowerbound.fit("shapes", recipe, latents=10, epochs=epochs, seed=seed, out=out, set=sets))
    trained = time.monotonic()
    found = [examine.evaluate(run, measures=["ledger", "disentanglement"]) for run in runs]
    each = [figures(one["disentanglement"]) | {"elbo": one["elbo"], "rate": one["rate"]} for one in found]
    spread = {
        name: {
            "mean": round(statistics.fmean(row[name] for row in each), 4),
            "deviation": round(statistics.stdev(row[name] for row in each), 4) if seeds > 1 else None,
            "each": [round(row[name], 4) for row in each],
        }
        for name in each[0]
        if all(name in row for row in each)
    }
    return {
        "recipe": recipe,
        "seeds": seeds,
        "steps": steps,
        "scores": spread,
        "settings": found[0]["disentanglement"]["settings"],
        "seconds of training": round(trained - begun, 1),
        "seconds of scores": round(time.monotonic() - trained, 1),
    }


def main() -> None:
    """Measure the recipes that are named, or all, and write their rows."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("recipes", nargs="*", default=RECIPES)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=3000)
    options = parser.parse_args()
    tune()
    path = HERE / "results" / "disentanglement.json"
    rows = {row["recipe"]: row for row in json.loads(path.read_text())["rows"]} if path.exists() else {}
    with tempfile.TemporaryDirectory() as folder:
        for recipe in options.recipes:
            rows[recipe] = measure(recipe, options.seeds, options.steps, Path(folder))
            print(json.dumps(rows[recipe]["scores"], indent=1))
            path.write_text(json.dumps({"env": machine(), "rows": list(rows.values())}, indent=1) + "\n")


if __name__ == "__main__":
    main()
