"""Time to quality: runs of a length fixed beforehand, whose final test -elbo (mean of three seeds) meets a figure.

    .venv-bench/bin/python benchmarks/quality.py mlp     # about ten minutes on two cores
    .venv-bench/bin/python benchmarks/quality.py conv

Everyone trains on the same 60,000 images, with the networks and the objective the same. Seconds are those from the
first step to the last; import, data and evaluation are counted for nobody. The peers train as they come: PyTorch's
example at batch 128 and Adam's 0.001 for ten epochs, Pythae's trainer likewise. lowerbound's recipes were chosen on a
validation split before (results/recipe-*.json). Every model is judged by one program: the elbo of the 10,000 test
images under fixed noise, in float32.
"""

import argparse
from typing import Any

from common import Contender, alternate, save, spread

SEEDS = (0, 1, 2)
RECIPES: dict[str, dict[str, list[str]]] = {
    "mlp": {
        "lowerbound": [
            "train.epochs=4",
            "train.batch=256",
            "train.lr=0.012",
            "train.betas=[0.8,0.95]",
            "train.warmup=0.15",
        ],
    },
    "conv": {
        "lowerbound, to 103.0": ["train.epochs=2", "train.batch=64", "train.lr=0.01", "train.betas=[0.8,0.95]"],
        "lowerbound, to 101.0": ["train.epochs=3.5", "train.batch=64", "train.lr=0.01", "train.betas=[0.8,0.95]"],
    },
}
PEERS: dict[str, dict[str, dict[str, Any]]] = {
    "mlp": {"PyTorch's example": {"peer": "plain", "epochs": 10}, "Pythae 0.1.2": {"peer": "pythae", "epochs": 10}},
    "conv": {"Pythae 0.1.2": {"peer": "pythae", "epochs": 7}},
}


def main() -> None:
    """Train everyone on three seeds, in turn, and judge them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("net", choices=list(RECIPES))
    net = parser.parse_args().net
    answers: dict[str, list[dict[str, Any]]] = {}
    for seed in SEEDS:
        ours = {name: Contender("quality", net=net, sets=sets, seed=seed) for name, sets in RECIPES[net].items()}
        theirs = {name: Contender("peer_quality", net=net, seed=seed, **how) for name, how in PEERS[net].items()}
        for name, answer in alternate({**ours, **theirs}, 1, warm=False).items():
            answers.setdefault(name, []).extend(answer)
    found = {
        name: {"-elbo": spread(a["-elbo"] for a in each), "mean -elbo": sum(a["-elbo"] for a in each) / len(each),
               "seconds": spread(a["seconds"] for a in each)}
        for name, each in answers.items()
    }  # fmt: skip
    times = {name: [a["seconds"] for a in each] for name, each in answers.items()}
    ratios = {
        f"{peer} over {name}": spread(p / o for p, o in zip(times[peer], times[name], strict=True))
        for name in RECIPES[net]
        for peer in PEERS[net]
    }
    save(f"quality-{net}", {"seeds": SEEDS, "recipes": RECIPES[net], "peers": PEERS[net], **found, "ratio": ratios})


if __name__ == "__main__":
    main()
