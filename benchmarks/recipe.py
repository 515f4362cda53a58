"""The choice of a recipe: -elbo on the validation split over a grid of batch sizes, learning rates and more.

    python benchmarks/recipe.py conv --set "train.batch=64;128" --set "train.lr=0.002;0.004"

Every combination of the values is trained once, on 55,000 images; the 5,000 others judge. The test split is not read.
Rows are added to results/recipe-<net>.json, each with what was set.
"""

import argparse
import itertools
import json
import time

from lowerbound.omp import wait_briefly

wait_briefly()  # as the command line does, before torch is loaded

from common import HERE, machine
from contenders import MLP

from lowerbound import metrics, tune
from lowerbound.begin import open_data, plan_job, plan_spec
from lowerbound.train import train


def main() -> None:
    """Train each cell of the grid once, and write what came of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("net", choices=["conv", "mlp"])
    parser.add_argument("--set", action="append", default=[], help="path=value;value;…")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int)
    options = parser.parse_args()
    tune(threads=options.threads)
    node, source = open_data("mnist")
    axes = [
        [f"{path}={value}" for value in values.split(";")] for path, values in (s.split("=", 1) for s in options.set)
    ]
    path = HERE / "results" / f"recipe-{options.net}.json"
    for cell in itertools.product(*axes):
        sets = [*(MLP if options.net == "mlp" else []), *cell]
        spec, _ = plan_spec(node, source, seed=options.seed, assignments=sets)
        job = plan_job(spec, source, "cpu")
        begun = time.monotonic()
        for _ in train(job.state, job.source, steps=job.total, batch=job.plan.batch, seed=options.seed):
            pass
        seconds = time.monotonic() - begun
        found = metrics.evaluate(job.judged, job.state.objective, source.blocks("validation"), step=job.total)
        row = {"set": list(cell), "seed": options.seed, "-elbo": round(-found["elbo"], 2), "seconds": round(seconds, 1)}
        print(row, flush=True)
        known = json.loads(path.read_text()) if path.exists() else {"split": "validation", "rows": []}
        path.write_text(json.dumps({**known, "env": machine(), "rows": [*known["rows"], row]}, indent=1) + "\n")


if __name__ == "__main__":
    main()
