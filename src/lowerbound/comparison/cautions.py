"""What may not be compared among some runs, in words: a number beside another is read as if it meant the same."""

from collections.abc import Callable, Sequence
from typing import Any

from lowerbound.comparison.rows import Row, likelihood_of, steps_of
from lowerbound.report import BEGUN
from lowerbound.run import Run, fingerprint
from lowerbound.words import counted

KINDS = {
    "cross-entropy": "a cross-entropy, which is no likelihood",
    "probability": "the probability of discrete pixels",
    "density": "a density",
    "unknown": "of an own model, of which it is not known whether it is a likelihood",
}


def incomparable(rows: Sequence[Row], split: str) -> list[str]:
    """Say why distortion and elbo of the rows are not the same numbers; nothing where they are."""
    other = _of_the_data(rows)
    said = [other] if other else _of_preparation(rows, split)
    return [text for text in (*said, _of_kinds(rows, split)) if text]


def cautions(rows: Sequence[Row], unfinished: Sequence[Run], split: str) -> list[str]:
    """Say what else must be known of rows whose numbers are the same, and which runs are not among them."""
    apart = _apart(rows, lambda run: run.data["images"]["train"], lambda run: f"{run.data['images']['train']:,}")
    said = [f"The runs were trained on different numbers of examples: {apart}." if apart else ""]
    said += [_of_families(rows, split), _of_points(rows), _of_estimates(rows, split)]
    return [text for text in (*said, *map(_of_unfinished, unfinished)) if text]


def _apart(rows: Sequence[Row], of: Callable[[Run], Any], show: Callable[[Run], str]) -> str:
    """Name what differs, each with the rows that have it; nothing where all are the same."""
    kinds: list[Any] = []
    shown: list[str] = []
    names: list[list[str]] = []
    for row in rows:
        kind = of(row.first)
        if kind not in kinds:
            kinds.append(kind)
            shown.append(show(row.first))
            names.append([])
        names[kinds.index(kind)].append(row.name)
    if len(kinds) < 2:
        return ""
    return "; ".join(f"{what} ({few(some)})" for what, some in zip(shown, names, strict=True))


def hardly_begun(which: str) -> str:
    """Say of which runs the figures tell little.

    Example:
        >>> hardly_begun("2 of these 3 runs")
        'Hardly begun, with fewer than 200 steps: 2 of these 3 runs; their figures tell little.'
    """
    return f"Hardly begun, with fewer than {BEGUN} steps: {which}; their figures tell little."


def few(names: Sequence[str]) -> str:
    """Name some, and say how many more there are."""
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _of_the_data(rows: Sequence[Row]) -> str:
    apart = _apart(rows, lambda run: [run.data["name"], run.data["shape"], fingerprint(run.data)], _data)
    return f"The runs are of different data, and no number of theirs compares: {apart}." if apart else ""


def _data(run: Run) -> str:
    whole, files = fingerprint(run.data)
    known = next((digest for digest in (whole, *files) if digest), None)
    shape = "×".join(map(str, run.data["shape"]))
    return f"{run.data['name']}, {shape}" + (f", SHA-256 {known[:8]}…" if known else "")


def _of_preparation(rows: Sequence[Row], split: str) -> list[str]:
    """Say where the same data were cut, binarised or scaled otherwise."""
    found = []
    if apart := _apart(rows, lambda run: run.data["binarise"], lambda run: str(run.data["binarise"])):
        found.append(f"The pixels are binarised otherwise, and distortion and elbo do not compare: {apart}.")
    held = ("test",) if split == "test" else ("test", "validation")  # validation images are cut after the test's
    sizes = _sizes(*held)
    if apart := _apart(rows, sizes, sizes):
        found.append(f"The {split} splits are not the same images: {apart}.")
    told = {"kind", "path", "labels", "binarise", "validation", "test"}
    for key in sorted({key for row in rows for key in row.first.spec["data"]} - told):
        value = _argument(key)
        if apart := _apart(rows, value, value):
            found.append(f"The data are prepared otherwise, and their numbers need not compare: data.{key} {apart}.")
    return found


def _sizes(*splits: str) -> Callable[[Run], str]:
    return lambda run: ", ".join(f"{run.data['images'][split]:,} for {split}" for split in splits)


def _argument(key: str) -> Callable[[Run], str]:
    return lambda run: str(run.spec["data"].get(key))


def _kind(run: Run, split: str) -> str:
    known = run.metrics["likelihood"]
    if known["density"] is not True:
        return "unknown" if known["density"] is None else "cross-entropy"
    of_bytes = "bits_per_dimension" in run.metrics[split] and not run.data.get("dequantise", False)
    return "probability" if of_bytes else "density"


def _of_kinds(rows: Sequence[Row], split: str) -> str:
    """Compare only numbers of one kind; cross-entropies of several families have nothing in common."""
    if apart := _apart(rows, lambda run: _kind(run, split), lambda run: _named(run, split)):
        return f"What is scored is not the same kind of number, and distortion and elbo do not compare: {apart}."
    if _kind(rows[0].first, split) in ("probability", "density") or not (apart := _families(rows)):
        return ""
    return f"The likelihoods differ, and what is scored is none, so that distortion and elbo do not compare: {apart}."


def _of_families(rows: Sequence[Row], split: str) -> str:
    """Say that likelihoods of one kind differ in more than how good they are."""
    kinds = {_kind(row.first, split) for row in rows}
    if kinds not in ({"probability"}, {"density"}) or not (apart := _families(rows)):
        return ""
    return (
        f"The likelihoods differ: {apart}. Elbos compare, each being a bound of log p(x) of the same pixels; a "
        "distortion also tells how much noise its family allows."
    )


def _families(rows: Sequence[Row]) -> str:
    def name(run: Run) -> str:
        return str(run.metrics["likelihood"]["name"])

    return _apart(rows, name, name)


def _named(run: Run, split: str) -> str:
    return f"{KINDS[_kind(run, split)]}: {run.metrics['likelihood']['name']}"


def _of_points(rows: Sequence[Row]) -> str:
    without = [row.name for row in rows if "elbo" not in row.figures]
    if not without or len(without) == len(rows):
        return ""
    return f"The posterior is a point and has no rate and no elbo: {few(without)}."


def _of_estimates(rows: Sequence[Row], split: str) -> str:
    """Say where log p(x) was not estimated alike: with fewer samples it is lower."""
    some = [row for row in rows if "log_p" in row.figures]

    def how(run: Run) -> str:
        known = likelihood_of(run, split) or {}
        return f"{counted(known.get('samples', 0), 'sample')} of each of {counted(known.get('images', 0), 'image')}"

    apart = _apart(some, how, how)
    return f"log p(x) was estimated otherwise, and with fewer samples it is lower: {apart}." if apart else ""


def _of_unfinished(run: Run) -> str:
    return (
        f"{run.path} is not finished (after {counted(steps_of(run), 'step')}), and left out: "
        f"lowerbound resume {run.path} goes on with it."
    )
