"""Peak resident memory beyond an imported torch: training on MNIST, and on a mapped array larger than the limit.

    .venv-bench/bin/python benchmarks/memory.py      # about three minutes

Each case is a process of its own. The mapped case lies under a limit (RLIMIT_DATA) that leaves, beside the mapping
itself, four times less than the array: a copy of it in memory would end the process. Pages of the mapping are the
file's until they are written, and the system may drop them; RssAnon counts what is the process's own.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from common import save

GIB, MIB = 2**30, 2**20
ARRAY = 4 * GIB  # bytes of the mapped file
LIMIT = 1 * GIB  # of anonymous memory, torch's own included


def status(*names: str) -> dict[str, float]:
    """Read what the system counts for this process, in MiB."""
    lines = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines() if ":" in line)
    return {name: int(lines[name].split()[0]) / 1024 for name in names}


def training(path: str | None, steps: int) -> dict[str, Any]:
    """Train in this process and give its memory before, while and after."""
    from lowerbound.omp import wait_briefly

    wait_briefly()  # as lowerbound's command line does, before torch is loaded
    import resource

    import torch

    torch.zeros(1) + 1
    imported = status("VmRSS", "RssAnon")
    if path:
        resource.setrlimit(resource.RLIMIT_DATA, (ARRAY + LIMIT, ARRAY + LIMIT))
    from lowerbound.begin import open_data, plan_job, plan_spec
    from lowerbound.process import tune
    from lowerbound.train import train

    tune()
    node, source = open_data(path or "mnist", ["data.validation=1000", "data.test=1000"] if path else [])
    spec, _ = plan_spec(node, source)
    job = plan_job(spec, source, "cpu")
    records = train(job.state, job.source, steps=steps, batch=job.plan.batch)
    over_time = [{"step": r.step, **status("VmRSS", "RssAnon")} for r in records if r.step % (steps // 8) == 0]
    return {"imported torch": imported, "over time": over_time, "peak": status("VmHWM")["VmHWM"]}


def apart(*arguments: str) -> dict[str, Any]:
    """Run a case in a process of its own."""
    command = [sys.executable, __file__, "--case", *arguments]
    output = subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout
    found: dict[str, Any] = json.loads(output.splitlines()[-1])
    return found


def main() -> None:
    """Measure MNIST by the library and by the whole command, and the mapped array."""
    import numpy as np

    if sys.argv[1:2] == ["--case"]:
        print(json.dumps(training(sys.argv[2] or None, int(sys.argv[3]))))
        return
    mnist = apart("", "1600")
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder:
        file = Path(folder) / "images.npy"
        images = ARRAY // (3 * 64 * 64)
        array = np.lib.format.open_memmap(file, mode="w+", dtype=np.uint8, shape=(images, 3, 64, 64))
        block = np.random.default_rng(0).integers(0, 256, (4096, 3, 64, 64), np.uint8)
        for start in range(0, images, 4096):
            array[start : start + 4096] = block[: min(4096, images - start)]
        array.flush()
        del array
        mapped = apart(str(file), "400")
    beyond = mnist["peak"] - mnist["imported torch"]["VmRSS"]
    found = {"MNIST": mnist, "MNIST, peak beyond imported torch": beyond, "mapped array": mapped}
    save("memory", {"unit": "MiB", "array": ARRAY / MIB, "limit of anonymous memory": LIMIT / MIB, **found})


if __name__ == "__main__":
    main()
