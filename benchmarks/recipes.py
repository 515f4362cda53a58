"""Every recipe for 200 steps on real MNIST: its objective becomes better, and what it then measures.

    .venv/bin/python benchmarks/recipes.py           # all of them, a few minutes
    .venv/bin/python benchmarks/recipes.py iwae ae   # some: the others' rows stay

The loss of the first 20 and of the last 20 steps, each weighed as at its step; distortion, rate, elbo and bound on the
5,000 images of the validation split after the last one, where fitted priors are not yet in place. Whatever follows a
schedule does so within these 200 steps. Rows stand in results/recipes.json.
"""

import argparse
import json
import statistics
import time

from lowerbound.omp import wait_briefly

wait_briefly()  # as the command line does, before torch is loaded

from common import HERE, machine

from lowerbound import metrics, recipes, tune
from lowerbound.begin import open_data, plan_job, plan_spec
from lowerbound.train import train

STEPS, SMOOTH = 200, 20


def measure(name: str, node: dict, source: object, seed: int) -> dict:
    """Train one recipe, and say what came of it."""
    batch = plan_spec(node, source, recipe=name)[0]["train"]["batch"]
    spec, _ = plan_spec(node, source, recipe=name, seed=seed, epochs=(STEPS + 0.5) * batch / len(source.train))
    job = plan_job(spec, source, "cpu")
    assert job.total == STEPS
    begun, losses, others = time.monotonic(), [], {}
    for record in train(job.state, job.source, steps=STEPS, batch=batch, seed=seed):
        losses.append(float(record.loss.terms["loss"]))
        others = {k: float(v) for k, v in record.loss.terms.items() if k in ("beta", "lambda", "adversary_loss")}
    seconds = time.monotonic() - begun
    found = metrics.evaluate(job.judged, job.state.objective, source.blocks("validation"), step=STEPS)
    kept = ("elbo", "bound", "distortion", "rate", "loss", "tc", "mmd", "sliced_wasserstein")
    return {
        "recipe": name,
        "loss of the first steps": round(statistics.fmean(losses[:SMOOTH]), 2),
        "loss of the last steps": round(statistics.fmean(losses[-SMOOTH:]), 2),
        "validation": {key: round(found[key], 4) for key in kept if key in found},
        "last": {key: round(value, 4) for key, value in others.items()},
        "comparable": job.state.objective.comparable,
        "seconds": round(seconds, 1),
    }


def main() -> None:
    """Train the recipes that are named, or all of them, and write their rows."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    tune()
    node, source = open_data("mnist")
    path = HERE / "results" / "recipes.json"
    rows = {row["recipe"]: row for row in json.loads(path.read_text())["rows"]} if path.exists() else {}
    for name in options.names or list(recipes.RECIPES):
        rows[name] = measure(name, node, source, options.seed)
        print(json.dumps(rows[name]), flush=True)
        ordered = [rows[each] for each in recipes.RECIPES if each in rows]
        content = {"env": machine(), "steps": STEPS, "smooth": SMOOTH, "seed": options.seed, "rows": ordered}
        path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
