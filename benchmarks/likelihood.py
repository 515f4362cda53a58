"""log p(x) by importance sampling with 5,000 samples an image: lowerbound against Pythae's get_nll, on one model.

    .venv-bench/bin/python benchmarks/likelihood.py      # about ten minutes on two cores

Both estimate the same integral with their own noise, so that the mean difference over the images must vanish within
its standard error; the shift of bfloat16 is the difference to lowerbound's own float32 under the same noise.
"""

import argparse
import statistics

from common import Contender, alternate, ratio, save, spread

IMAGES = {"mlp": 60, "conv": 20}
SAMPLES = 5000


def difference(a: list[float], b: list[float]) -> dict[str, float]:
    """Give the mean of a - b over images, and its standard error, in nats."""
    each = [x - y for x, y in zip(a, b, strict=True)]
    return {"mean": statistics.fmean(each), "standard error": statistics.stdev(each) / len(each) ** 0.5}


def main() -> None:
    """Measure both networks."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    found = {}
    for net, images in IMAGES.items():
        common = {"net": net, "samples": SAMPLES, "images": images}
        contenders = {
            "float32": Contender("importance", **common, precision="float32"),
            "bfloat16": Contender("importance", **common, precision="bfloat16"),
            "Pythae 0.1.2": Contender("pythae_importance", **common),
        }
        rounds = alternate(contenders, options.rounds)
        seconds = {name: [answer["s/image"] for answer in answers] for name, answers in rounds.items()}
        each = {name: answers[-1]["each"] for name, answers in rounds.items()}
        found[net] = {
            "images": images,
            "ms an image": {name: spread(1000 * s for s in values) for name, values in seconds.items()},
            "Pythae's time over ours": {
                name: ratio(seconds["Pythae 0.1.2"], seconds[name]) for name in list(seconds)[:2]
            },
            "mean log p(x)": {name: statistics.fmean(values) for name, values in each.items()},
            "ours - Pythae's": difference(each["float32"], each["Pythae 0.1.2"]),
            "bfloat16 - float32": difference(each["bfloat16"], each["float32"]),
        }
    save("likelihood", {"samples": SAMPLES, "rounds": options.rounds, **found})


if __name__ == "__main__":
    main()
