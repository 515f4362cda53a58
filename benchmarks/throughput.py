"""Training images/s: lowerbound, Pythae's trainer, a plain PyTorch loop, and the bare step, side by side.

.venv-bench/bin/python benchmarks/throughput.py      # about six minutes on two cores
"""

import argparse

from common import Contender, alternate, ratio, save, spread

STEPS = {"conv": 80, "mlp": 200}


def contenders(net: str) -> dict[str, Contender]:
    """Everyone on one network, at batch 128."""
    common = {"net": net, "batch": 128, "steps": STEPS[net]}
    return {
        "lowerbound": Contender("lowerbound", **common),
        "lowerbound, float32": Contender("lowerbound", **common, precision="float32"),
        "lowerbound, plain": Contender("lowerbound", **common, precision="float32", deterministic=True),
        "bare step": Contender("bare", **common),
        "bare step, float32": Contender("bare", **common, precision="float32"),
        "Pythae 0.1.2": Contender("pythae", **common),
        "plain PyTorch loop": Contender("plain", **common),
    }


def main() -> None:
    """Measure both networks."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    options = parser.parse_args()
    found = {}
    for net in STEPS:
        rounds = alternate(contenders(net), options.rounds)
        speed = {name: [answer["images/s"] for answer in answers] for name, answers in rounds.items()}
        pairs = [("lowerbound", "Pythae 0.1.2"), ("lowerbound", "plain PyTorch loop")]
        pairs += [("lowerbound", "bare step"), ("lowerbound, float32", "bare step, float32")]
        pairs += [("lowerbound, plain", "bare step, float32")]
        found[net] = {
            "images/s": {name: spread(values) for name, values in speed.items()},
            "ratio": {f"{a} over {b}": ratio(speed[a], speed[b]) for a, b in pairs},
            "bfloat16": rounds["lowerbound"][0]["bfloat16"],
        }
    save("throughput", {"batch": 128, "steps a round": STEPS, "rounds": options.rounds, **found})


if __name__ == "__main__":
    main()
