"""What bfloat16 does to a training: the final test elbo of the default recipe in both precisions, over three seeds.

.venv-bench/bin/python benchmarks/precision.py      # about four minutes on two cores
"""

from common import Contender, alternate, save, spread

SEEDS = (0, 1, 2)


def main() -> None:
    """Train the default recipe in each precision from each seed, in turn."""
    answers: dict[str, list[dict[str, float]]] = {}
    for seed in SEEDS:
        contenders = {
            precision: Contender("quality", net="conv", sets=[f"train.precision={precision}"], seed=seed)
            for precision in ("float32", "bfloat16")
        }
        for name, answer in alternate(contenders, 1, warm=False).items():
            answers.setdefault(name, []).extend(answer)
    found = {
        name: {
            "-elbo": spread(a["-elbo"] for a in each),
            "mean -elbo": sum(a["-elbo"] for a in each) / len(each),
            "seconds": spread(a["seconds"] for a in each),
        }
        for name, each in answers.items()
    }
    times = {name: [a["seconds"] for a in each] for name, each in answers.items()}
    ratio = spread(a / b for a, b in zip(times["float32"], times["bfloat16"], strict=True))
    save("precision", {"seeds": SEEDS, **found, "ratio": {"float32 over bfloat16": ratio}})


if __name__ == "__main__":
    main()
