"""Growth: images/s and peak memory of training against batch size, latents, image side and samples.

    .venv-bench/bin/python benchmarks/growth.py      # about six minutes

Each point is a process of its own. One thing is varied at a time from the default: batch 128, 16 latents, side 28,
one sample. The images are noise, made in memory: time and memory do not depend on what they show.
"""

import subprocess
import sys
import time
from typing import Any

from lowerbound.omp import wait_briefly

wait_briefly()  # as the command line does, before torch is loaded

import json

from common import save, spread

AXES = {
    "batch": [16, 32, 64, 128, 256, 512, 1024],
    "latents": [2, 16, 64, 256, 1024],
    "side": [28, 40, 56, 80, 128],
    "samples": [1, 2, 4, 8, 16],
}
START = {"batch": 128, "latents": 16, "side": 28, "samples": 1}
SECONDS, ROUNDS = 1.0, 3


def case(batch: int, latents: int, side: int, samples: int) -> dict[str, Any]:
    """Measure one point in this process."""
    import resource

    import torch

    torch.zeros(1) + 1
    imported = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    from lowerbound import data, tune
    from lowerbound.begin import plan_job, plan_spec
    from lowerbound.train import train

    tune()
    pixels = torch.randint(0, 256, (2 * batch, 1, side, side), dtype=torch.uint8)
    source = data.tensor(pixels, validation=0, test=0)
    channels = ["model.posterior.net.channels=[32,64]", "model.likelihood.net.channels=[64,32]"]  # as at side 28
    sets = [f"train.batch={batch}", f"objective.samples={samples}", "train.epochs=100000", *channels]
    spec, _ = plan_spec({"kind": "own"}, source, latents=latents, assignments=sets)
    job = plan_job(spec, source, "cpu")
    speeds = []
    for _ in range(ROUNDS + 1):
        begun, first = time.perf_counter(), job.state.step
        for _ in train(job.state, job.source, steps=10**9, batch=batch):
            if time.perf_counter() - begun > SECONDS:
                break
        speeds.append((job.state.step - first) * batch / (time.perf_counter() - begun))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - imported
    return {"images/s": spread(speeds[1:]), "MiB beyond torch": round(peak / 1024, 1), "bfloat16": job.state.bfloat16}


def main() -> None:
    """Measure every point, each in its own process."""
    if sys.argv[1:2] == ["--case"]:
        print(json.dumps(case(**json.loads(sys.argv[2]))))
        return
    found: dict[str, list[dict[str, Any]]] = {}
    for name, values in AXES.items():
        for value in values:
            point = {**START, name: value}
            command = [sys.executable, __file__, "--case", json.dumps(point)]
            output = subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout
            found.setdefault(name, []).append({**point, **json.loads(output.splitlines()[-1])})
            print(found[name][-1], file=sys.stderr, flush=True)
    save("growth", {"seconds a round": SECONDS, "rounds": ROUNDS, **found})


if __name__ == "__main__":
    main()
