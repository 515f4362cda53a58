"""Start-up: `lowerbound --help`, and from the command to the first training step.

.venv-bench/bin/python benchmarks/startup.py      # about a minute
"""

import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from common import save, spread

ROUNDS = 9
PROGRAM = str(Path(sys.executable).with_name("lowerbound"))


def help_() -> float:
    """Time `lowerbound --help` from outside."""
    begun = time.perf_counter()
    subprocess.run([PROGRAM, "--help"], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - begun


def first_step() -> tuple[float, float]:
    """Time from the command `lowerbound train` to its first line of figures, and to `import torch` alone."""
    begun = time.perf_counter()
    subprocess.run([sys.executable, "-c", "import torch"], check=True)
    torch_alone = time.perf_counter() - begun
    with tempfile.TemporaryDirectory() as folder:
        begun = time.perf_counter()
        command = [PROGRAM, "train", "--epochs", "0.1", "--out", f"{folder}/run"]
        unbuffered = {**os.environ, "PYTHONUNBUFFERED": "1"}
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=unbuffered) as process:
            for line in process.stdout or ():
                if re.match(r"step 1/", line):
                    seconds = time.perf_counter() - begun
                    break
            process.communicate()
    return seconds, torch_alone


def main() -> None:
    """Measure both."""
    helps = [help_() for _ in range(ROUNDS + 1)][1:]
    steps = [first_step() for _ in range(ROUNDS // 2 + 1)][1:]
    found = {"lowerbound --help": spread(helps), "to the first step": spread(step for step, _ in steps)}
    save("startup", {"rounds": ROUNDS, "seconds": {**found, "import torch": spread(torch for _, torch in steps)}})


if __name__ == "__main__":
    main()
