"""The whole product of the axes: every posterior, prior, likelihood and objective or term, tried.

    .venv/bin/python benchmarks/product.py      # some minutes

Each combination is built small, trained for two steps, evaluated and sampled from, or refused in words
(`lowerbound.compose`); anything else, such as a number that is not finite, ends the program. The tests try a covering
array of it. What came of it, with the words and how often they were said, stands in results/product.json.
"""

import itertools
import sys
import time
from collections import Counter

from lowerbound.omp import wait_briefly

wait_briefly()  # as the command line does, before torch is loaded

from common import save

from lowerbound import compose, spec, tune


def main() -> None:
    """Try every combination, and write what came of it."""
    tune()
    kinds = {axis: list(spec.REGISTRIES[axis]) for axis in ("posterior", "prior", "likelihood")}
    goals = [{"objective": kind} for kind in spec.REGISTRIES["objective"]]
    goals += [{"term": kind} for kind in spec.REGISTRIES["term"]]
    images, words, begun = compose.source(), Counter[str](), time.monotonic()
    for i, (*parts, goal) in enumerate(itertools.product(*kinds.values(), goals)):
        told = compose.attempt(compose.small(**dict(zip(kinds, parts, strict=True)), **goal), images)
        words.update([told or "trained"])
        if i % 1000 == 0:
            print(f"{i}: {dict(words.most_common(1))}, {time.monotonic() - begun:.0f} s", file=sys.stderr, flush=True)
    trained = words.pop("trained")
    sizes = {**{axis: len(known) for axis, known in kinds.items()}, "objective or term": len(goals)}
    refused = dict(words.most_common())
    save("product", {"axes": sizes, "trained": trained, "refused": refused})


if __name__ == "__main__":
    main()
