"""The tables of README.md from the result files, so that no number in it was typed.

python benchmarks/tables.py        # rewrites what stands between the markers of README.md
"""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
MARK = re.compile(r"<!-- (\w[\w-]*) -->\n.*?<!-- end -->", re.S)
Result = dict[str, Any]


def number(value: float) -> str:
    """Write three significant digits, and thousands with commas."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def cell(found: Result) -> str:
    """Write a median with the least and the most."""
    return f"{number(found['median'])} ({number(found['least'])}–{number(found['most'])})"


def table(head: list[str], rows: list[list[str]]) -> str:
    """Write a Markdown table."""
    lines = ["| " + " | ".join(row) + " |" for row in [head, ["---"] * len(head), *rows]]
    return "\n".join(lines)


def origin(found: Result) -> str:
    """Say on what, when and how a result was measured."""
    env = found["env"]
    machine, flags = env["machine"], ", ".join(env["flags"])
    return (
        f"\n\n{machine['processor']}, {env['threads']} threads ({flags}), torch {env['versions']['torch']}, "
        f"{env['started'][:10]}: `{env['command']}`"
    )


def throughput(found: Result) -> str:
    """Images/s of everyone, and the ratios."""
    names = list(found["conv"]["images/s"])
    rows = [[name, *(cell(found[net]["images/s"][name]) for net in ("conv", "mlp"))] for name in names]
    pairs = [[name, *(cell(found[net]["ratio"][name]) for net in ("conv", "mlp"))] for name in found["conv"]["ratio"]]
    head = ["median (least–most)", "convolutional", "784-400-20 MLP"]
    return table(["images/s, " + head[0], *head[1:]], rows) + "\n\n" + table(["ratio, " + head[0], *head[1:]], pairs)


def quality(found: Result) -> str:
    """Final test -elbo, seconds and ratios."""
    names = [name for name, value in found.items() if isinstance(value, dict) and "mean -elbo" in value]
    rows = [[name, f"{found[name]['mean -elbo']:.2f}", cell(found[name]["seconds"])] for name in names]
    pairs = [[name, cell(value)] for name, value in found["ratio"].items()]
    first = table(["", "test −elbo, mean of three seeds", "seconds, median (least–most)"], rows)
    return first + "\n\n" + table(["time, seed by seed", "ratio"], pairs)


def likelihood(found: Result) -> str:
    """Time an image, ratios and agreement."""
    rows = []
    for net in ("mlp", "conv"):
        part = found[net]
        for name, ms in part["ms an image"].items():
            ratio = part["Pythae's time over ours"].get(name)
            log_p = f"{part['mean log p(x)'][name]:.3f}"
            rows.append([net, name, cell(ms), cell(ratio) if ratio else "1", log_p])
    shifts = [
        [net, what, f"{found[net][what]['mean']:+.4f} ± {found[net][what]['standard error']:.4f}"]
        for net in ("mlp", "conv")
        for what in ("ours - Pythae's", "bfloat16 - float32")
    ]
    head = ["network", "who", "ms an image", "Pythae's time over ours", "mean log p(x), nats"]
    return table(head, rows) + "\n\n" + table(["network", "difference", "nats ± standard error over images"], shifts)


def limit(found: Result) -> str:
    """Rates, and the profile of a step."""
    rows = []
    for precision in ("float32", "bfloat16"):
        part = found[precision]
        best = max(value["median"] for name, value in part["GFLOP/s"].items() if name.startswith("product"))
        for net in ("conv", "mlp"):
            over = cell(part["over the product"][net])
            rows.append([precision, net, cell(part["GFLOP/s"][net]), number(best), over])
    first = table(["precision", "network", "GFLOP/s of a step", "of a matrix product", "ratio"], rows)
    shares = []
    for precision in ("float32", "bfloat16"):
        profile = list(found[precision]["profile"]["conv"].items())[:8]
        shares.append([precision, ", ".join(f"`{name.removeprefix('aten::')}` {share:.0%}" for name, share in profile)])
    return first + "\n\n" + table(["precision", "shares of the convolutional step's time"], shares)


def growth(found: Result) -> str:
    """Cost and memory along each axis."""
    rows = [
        [axis, str(point[axis]), number(point["images/s"]["median"]), number(point["MiB beyond torch"])]
        for axis in ("batch", "latents", "side", "samples")
        for point in found[axis]
    ]
    return table(["varied", "value", "images/s", "peak MiB beyond torch"], rows)


def startup(found: Result) -> str:
    """Seconds of each."""
    return table(["", "seconds, median (least–most)"], [[name, cell(v)] for name, v in found["seconds"].items()])


def memory(found: Result) -> str:
    """Memory of MNIST and of the mapped array."""
    anonymous = [point["RssAnon"] for point in found["mapped array"]["over time"]]
    rows = [
        ["MNIST training, peak beyond imported torch", number(found["MNIST, peak beyond imported torch"])],
        [
            f"training from a mapped array of {number(found['array'])} MiB, "
            f"anonymous memory limited to {number(found['limit of anonymous memory'])} MiB: over time",
            " → ".join(map(number, anonymous)),
        ],
    ]
    return table(["", "MiB"], rows)


def recipe(found: Result) -> str:
    """-elbo on the validation split, for each cell that was tried."""
    rows = [[", ".join(s.removeprefix("train.") for s in row["set"]), f"{row['-elbo']:.2f}"] for row in found["rows"]]
    return table(["set", "validation −elbo"], rows)


def recipes(found: Result) -> str:
    """Losses at the beginning and the end, and what was measured after it."""
    rows = []
    for row in found["rows"]:
        measured = row["validation"]
        figures = [
            f"{measured[name]:.1f}" if name in measured else "" for name in ("elbo", "bound", "distortion", "rate")
        ]
        rows.append(
            [f"`{row['recipe']}`", f"{row['loss of the first steps']:,.1f}", f"{row['loss of the last steps']:,.1f}"]
        )
        rows[-1] += figures
    first, last = f"loss, first {found['smooth']} steps", f"last {found['smooth']} of {found['steps']}"
    return table(["recipe", first, last, "validation elbo", "bound", "distortion", "rate"], rows)


def product(found: Result) -> str:
    """How many combinations train, and the words that refuse the others."""
    sizes = " × ".join(f"{n} {axis}" for axis, n in found["axes"].items())
    rows = [["trained and evaluated", f"{found['trained']:,}"]]
    rows += [[words, f"{n:,}"] for words, n in found["refused"].items()]
    return table([sizes, "combinations"], rows)


def classifier(found: Result) -> str:
    """Accuracy of the classifiers that features are of."""
    rows = []
    for name in ("mnist", "fashion-mnist"):
        part = found[name]
        shares = [f"{100 * part['test'][kind]:.2f} %" for kind in ("grey", "drawn", "threshold")]
        validation = f"{100 * part['validation']['grey']:.2f} %"
        rows.append([name, *shares, validation, number(part["parameters"]), f"`{part['sha256'][:12]}…`"])
    head = ["data", "test, grey", "drawn as bits", "cut at ½", "validation, grey", "parameters", "SHA-256"]
    return table(head, rows)


def prdc(found: Result) -> str:
    """The four measures by each program, and what they are on average where that is known."""
    names = list(found["paper"])
    rows = [["the paper's code, one draw", *(f"{found['paper'][name]:.4f}" for name in names)]]
    for draw in found["draws"]:
        rows += [
            [f"{who}, seed {draw['seed']}", *(f"{draw[who][name]:.4f}" for name in names)]
            for who in ("lowerbound", "scikit-learn")
        ]
    known = [f"{found['expected'][name]:.4f}" if name in found["expected"] else "" for name in names]
    return table(["", *names], [*rows, ["on average, exactly", *known]])


def coverage(found: Result) -> str:
    """How often the 95 % intervals held log p(x), and how many draws were said not to be trusted."""
    rows = [
        [
            f"{case['shift']:g}, {case['scale']:g}",
            f"{case['samples']:,}",
            number(case["effective samples, median"]),
            f"{case['k-hat, median']:.2f}",
            f"{case['not to be trusted']:.1%}",
            f"{case['bias']:.4f}",
            f"{case['coverage']:.1%}",
            f"{case['k-hat below 1/2']:.1%}",
            ""
            if case["coverage where k-hat is below 1/2"] is None
            else f"{case['coverage where k-hat is below 1/2']:.1%}",
        ]
        for case in found["cases"]
    ]
    head = [
        "mean of q off by, its scale",
        "K",
        "effective samples, median",
        "k̂, median",
        "not to be trusted",
        "bias, nats",
    ]
    return table([*head, "intervals that held log p(x)", "draws of k̂ < ½", "of these, held"], rows)


def anomaly(found: Result) -> str:
    """Area under the ROC curve of each score: a row for each digit that is normal, their mean, and between sets."""
    digits, sets = found["one digit against the rest"], found["between sets"]
    methods = list(digits["mean area"])

    def row(name: str, each: Result) -> list[str]:
        cells = [each[method] for method in methods]
        spans = ["" if c["low"] is None else f" ({c['low']:.3f}–{c['high']:.3f})" for c in cells]
        return [name, *(f"{c['value']:.3f}{span}" for c, span in zip(cells, spans, strict=True))]

    rows = [row(digit, each) for digit, each in digits["each"].items()]
    rows.append(["mean", *(f"{value:.3f}" for value in digits["mean area"].values())])
    head = ["area (95 % interval)", *methods]
    between = [row(name.removesuffix(" anomalous"), each) for name, each in sets.items()]
    return table([f"the digit that is normal, {head[0]}", *methods], rows) + "\n\n" + table(head, between)


def bracket(found: Result) -> str:
    """The ends, the gap and the time of each case."""
    rows = []
    for name, part in found.items():
        if isinstance(part, dict) and "gap" in part:
            how, error = part["how"], part["standard error of the gap"]
            rows.append(
                [
                    name,
                    f"{how['chains']} × {how['temperatures']} × {how['leaps']}",
                    f"{part['images']}",
                    f"{part['lower']:.2f}, {part['upper']:.2f}",
                    f"{part['gap']:+.3f} ± {error:.3f}",
                    f"{part['limits'][0]:.2f} to {part['limits'][1]:.2f}",
                    f"{part['importance sampling, 5,000 samples']:.2f}",
                    f"{number(part['seconds an image'])}",
                ]
            )
    head = ["", "chains × temperatures × leaps", "images", "lower, upper", "gap", "97.5 % limits of the mean"]
    return table([*head, "importance sampling", "seconds an image"], rows)


def decode(found: Result) -> str:
    """Milliseconds from a request, and from a pointer's move."""
    rows = [
        [what, f"{part['median']:.1f}", f"{part['p95']:.1f}", str(part["count"])]
        for what, part in found["milliseconds"].items()
    ]
    return table(["milliseconds", "median", "95th percentile", "of"], rows)


def hands(found: Result) -> str:
    """Milliseconds of the map's frames, median and 95th percentile."""
    parts = ["script", "thread", "interval", "event to pixels"]
    rows = []
    for name, each in found["milliseconds"].items():
        told = [f"{each[part]['median']:.1f}, {each[part]['p95']:.1f}" if part in each else "" for part in parts]
        rows.append([name, *told, str(each["interval"]["count"])])
    head = ["processor, script", "processor, page's thread", "a frame", "event to pixels", "frames"]
    return table([f"{found['points']:,} points; milliseconds, median and 95th percentile", *head], rows)


def history(found: Result) -> str:
    """Seconds to open a long history."""
    rows = [[what, cell(part)] for what, part in found["seconds"].items()]
    size = f"{found['records']:,} records, {found['bytes'] / 1e6:.0f} MB; {found['rows shown']:,} rows are shown"
    return table(["seconds, median (least–most)", size], rows)


def alternated(found: Result) -> str:
    """Seconds of a training's steps in two ways, and their ratio."""
    rows = [[way, cell(part)] for way, part in found["seconds of the steps"].items()]
    rows += [[name, cell(part)] for name, part in found.items() if " over " in name]
    used = found.get("seconds of processor a second", {})
    rows += [[f"seconds of processor a second, {what}", cell(part)] for what, part in used.items()]
    return table([f"`lowerbound {found['command']}`", "seconds of all steps; ratio round by round"], rows)


def diagnosis(found: Result) -> str:
    """Each run's findings and prior gain beside what refitting the prior does to its samples."""
    rows = []
    for run in found["runs"]:
        gain, before, after = run["gain"], run["before"], run["after"]
        ill = "prior that does not match the codes" in run["findings"]
        others = [name for name in run["findings"] if not name.startswith(("prior that", "likelihood that"))]
        rows.append(
            [
                f"{run['case']}, seed {run['seed']}",
                f"{run['rate']:.1f}",
                f"{gain['mixture']:.2f}, {gain['flow']:.2f}",
                f"{max(gain.values()) / run['rate']:.1%}",
                f"{before['told']:.3f} → {after['told']:.3f}",
                f"{before['frechet']:.2f} → {after['frechet']:.2f}",
                f"{after['frechet'] / before['frechet']:.2f}",
                "yes" if ill else "",
                ", ".join(others),
            ]
        )
    head = ["trained as", "rate, nats", "gain by a mixture, a flow, nats", "largest, of the rate"]
    told = ["samples told from reconstructions", "Fréchet distance of samples", "ratio"]
    return table([*head, *told, f"prior found ill, by {found['threshold']:.0%}", "also found"], rows)


WRITERS: dict[str, Callable[[Result], str]] = {
    "throughput": throughput,
    "quality-mlp": quality,
    "quality-conv": quality,
    "precision": quality,
    "likelihood": likelihood,
    "limit": limit,
    "growth": growth,
    "startup": startup,
    "memory": memory,
    "recipe-conv": recipe,
    "recipe-mlp": recipe,
    "recipes": recipes,
    "product": product,
    "classifier": classifier,
    "prdc": prdc,
    "bracket": bracket,
    "coverage": coverage,
    "anomaly": anomaly,
    "studio-decode": decode,
    "studio-map": hands,
    "watching-history": history,
    "watching-page": alternated,
    "watching-delay": decode,
    "watching-frames": alternated,
    "diagnosis": diagnosis,
}


def render(text: str) -> str:
    """Put the tables of the result files between the markers of a text."""

    def fill(match: re.Match[str]) -> str:
        name = match[1]
        found = json.loads((HERE / "results" / f"{name}.json").read_text())
        return f"<!-- {name} -->\n{WRITERS[name](found)}{origin(found)}\n<!-- end -->"

    return MARK.sub(fill, text)


if __name__ == "__main__":
    page = HERE / "README.md"
    page.write_text(render(page.read_text()))
