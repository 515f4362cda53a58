"""The choice of the default recipe: -elbo on the validation split, and seconds, over batch size and learning rate.

    python benchmarks/recipe.py            # about six minutes on two cores; writes benchmarks/recipe.json

The test split is not read.
"""

import json
import os
import tempfile
import time
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as the command line does, before torch is loaded

import lowerbound
from lowerbound.begin import open_data, plan_spec, prepare
from lowerbound.run import environment

GRID = [(batch, lr) for batch in (64, 128) for lr in (0.002, 0.004, 0.006)]
SEED = 0


def main() -> None:
    """Train each cell of the grid once, and write what came of it."""
    settings = lowerbound.tune()
    node, source = open_data("mnist")
    rows = []
    for batch, lr in GRID:
        spec, name = plan_spec(node, source, seed=SEED, assignments=[f"train.batch={batch}", f"train.lr={lr}"])
        with tempfile.TemporaryDirectory() as folder:
            job = prepare(spec, source, name=name, out=Path(folder) / "run")
            begun = time.monotonic()
            for _ in job.steps():
                pass
            seconds = time.monotonic() - begun
            last = [row for row in job.run.history if row["split"] == "validation"][-1]
        rows.append({"batch": batch, "lr": lr, "loss": round(last["loss"], 2), "seconds": round(seconds, 1)})
        print(rows[-1], flush=True)
    found = {"env": environment(), "settings": settings, "seed": SEED, "epochs": 4, "split": "validation", "rows": rows}
    (Path(__file__).parent / "results" / "recipe.json").write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
