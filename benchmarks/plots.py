"""The plots of README.md from the result files.

python benchmarks/plots.py        # draws results/*.png anew
"""

import json
from collections.abc import Callable
from typing import Any

from common import HERE
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

Result = dict[str, Any]
OURS, OTHERS = "#1f6f8b", "#b7b7b7"


def bars(axes: Axes, spreads: Result, title: str) -> None:
    """Draw the medians as bars from top to bottom, and least to most as a line on each; ours in colour."""
    names, middle = list(spreads), [value["median"] for value in spreads.values()]
    reach = [
        [value["median"] - value["least"] for value in spreads.values()],
        [value["most"] - value["median"] for value in spreads.values()],
    ]
    ours = [name.startswith(("lowerbound", "float32", "bfloat16")) for name in names]
    axes.barh(names, middle, xerr=reach, color=[OURS if o else OTHERS for o in ours], ecolor="#444444")
    axes.invert_yaxis()
    axes.set_title(title, fontsize=10)
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.spines[["top", "right"]].set_visible(False)


def throughput(found: Result) -> Figure:
    """Images/s of everyone, on both networks."""
    figure = Figure(figsize=(10, 3), layout="constrained")
    left, right = figure.subplots(1, 2)
    bars(left, found["conv"]["images/s"], "convolutional, images/s")
    bars(right, found["mlp"]["images/s"], "784-400-20 MLP, images/s")
    right.set_yticklabels([])
    return figure


def quality(found: Result) -> Figure:
    """Where each recipe ends: seconds of training against the test -elbo."""
    figure = Figure(figsize=(6, 3.2), layout="constrained")
    axes = figure.subplots()
    for name, value in found.items():
        if not (isinstance(value, dict) and "mean -elbo" in value):
            continue
        seconds, colour = value["seconds"], OURS if name.startswith("lowerbound") else "#666666"
        reach = [[seconds["median"] - seconds["least"]], [seconds["most"] - seconds["median"]]]
        axes.errorbar(seconds["median"], value["mean -elbo"], xerr=reach, fmt="o", color=colour)
        axes.annotate(name, (seconds["median"], value["mean -elbo"]), (5, 5), textcoords="offset points", fontsize=9)
    axes.set(xlim=(0, None), xlabel="seconds of training", ylabel="test −elbo, nats")
    axes.margins(x=0.3, y=0.25)
    axes.set_xlim(0, None)
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def likelihood(found: Result) -> Figure:
    """Milliseconds an image, on both networks."""
    figure = Figure(figsize=(10, 1.9), layout="constrained")
    for axes, (net, name) in zip(
        figure.subplots(1, 2), (("mlp", "784-400-20 MLP"), ("conv", "convolutional")), strict=True
    ):
        bars(axes, found[net]["ms an image"], f"{name}, ms an image")
    return figure


def limit(found: Result) -> Figure:
    """A training step's share of the rate of a matrix product."""
    figure = Figure(figsize=(6, 2.2), layout="constrained")
    axes = figure.subplots()
    over = {
        f"{p}, {net}": found[p]["over the product"][net] for p in ("float32", "bfloat16") for net in ("conv", "mlp")
    }
    bars(axes, over, "rate of a step over that of a matrix product")
    axes.set_xlim(0, 1)
    return figure


def growth(found: Result) -> Figure:
    """The cost of an image (of a pixel, of a sample) and the memory along each axis."""
    names = ("batch", "latents", "side", "samples")
    unit: dict[str, Callable[[int], float]] = {"side": lambda v: (v / 28) ** 2, "samples": lambda v: v}
    figure = Figure(figsize=(11, 5), layout="constrained")
    axes = figure.subplots(2, len(names))
    for column, name in enumerate(names):
        points = found[name]
        x = [point[name] for point in points]
        cost = [1e6 / point["images/s"]["median"] / unit.get(name, lambda v: 1)(point[name]) for point in points]
        per = {"side": "784 pixels", "samples": "sample"}.get(name, "image")
        axes[0, column].plot(x, cost, "o-", color=OURS)
        axes[0, column].set(xscale="log", ylim=(0, None), title=f"µs per {per}", xlabel=name)
        axes[1, column].plot(x, [point["MiB beyond torch"] for point in points], "o-", color="#c2571a")
        axes[1, column].set(xscale="log", ylim=(0, None), title="peak MiB beyond torch", xlabel=name)
        for row in (0, 1):
            axes[row, column].set_xticks(x, [str(v) for v in x])
            axes[row, column].minorticks_off()
    return figure


PLOTS: dict[str, Callable[[Result], Figure]] = {
    "throughput": throughput,
    "quality-mlp": quality,
    "quality-conv": quality,
    "likelihood": likelihood,
    "limit": limit,
    "growth": growth,
}


def main() -> None:
    """Draw every plot."""
    for name, draw in PLOTS.items():
        found = json.loads((HERE / "results" / f"{name}.json").read_text())
        draw(found).savefig(HERE / "results" / f"{name}.png", dpi=110)


if __name__ == "__main__":
    main()
