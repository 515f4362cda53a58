"""The verbs score, impute, neighbours and embed of the command line: they say what was found, and where it is."""

import csv
import io
import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import Float, Int
from rich.table import Table
from rich.text import Text

from lowerbound import begin, explore, figures, verbs
from lowerbound.errors import UsageError
from lowerbound.evaluation.command import Shown
from lowerbound.progress import console
from lowerbound.run import Run
from lowerbound.tasks.impute import Filled
from lowerbound.tasks.impute import impute as filled
from lowerbound.tasks.neighbours import neighbours as nearest
from lowerbound.tasks.score import score as scored
from lowerbound.tasks.scores import Scores, words
from lowerbound.words import counted, noun, number

if TYPE_CHECKING:
    from lowerbound import cli


def score(args: "cli.Score") -> None:
    """Score images; writes a table and pictures, and says what was found."""
    run = verbs.opened(args.run)
    of = "" if args.data is None else f"-{Path(args.data).stem}"
    stem = _stem(args.out, run.path / f"scores-{args.method}{of}")
    with (shown := Shown(quiet=args.json)):
        found = scored(
            run,
            args.data,
            method=args.method,
            samples=args.samples,
            images=args.images,
            false_alarms=args.false_alarms,
            calibrate=args.calibrate,
            anomalous=args.anomalous,
            against=args.against,
            progress=shown,
        )
    places = [stem.with_name(stem.name + end) for end in (".csv", ".png", "-roc.png")]
    verbs.write(places[0], found.table().encode())
    verbs.save(run, found.figure(), places[1])
    if found.area is None:
        places.pop()
    else:
        verbs.save(run, found.curve(), places[2])
    if args.json:
        print(json.dumps({**found.summary(), "files": [str(place) for place in places]}, ensure_ascii=False))
        return
    _say_scores(run, found)
    for place in places:
        verbs.say(str(place))


def _say_scores(run: Run, found: Scores) -> None:
    what, n = noun(run.data["shape"]), len(found.scores)
    flagged = found.flagged
    if flagged is not None and found.threshold is not None and math.isfinite(found.threshold):
        verbs.say(
            f"{int(flagged.sum()):,} of {counted(n, what[:-1])} are flagged, at a threshold of "
            f"{number(found.threshold)} nats."
        )
    else:
        verbs.say(f"{counted(n, what[:-1])} {'is' if n == 1 else 'are'} scored, and none is flagged.")
    rates = found.rates()
    if rates:
        verbs.say(f"  Of the normal ones {rates['normal']:.1%} are flagged, of the anomalous {rates['anomalous']:.1%}.")
    if found.area is not None:
        verbs.say(f"  Area under the ROC curve: {words(found.area)}.")
    for note in found.notes:
        verbs.say(f"  {note}")


def impute(args: "cli.Impute") -> None:
    """Draw missing pixels; writes the numbers and a picture, and says how well the chains moved."""
    run = verbs.opened(args.run)
    stem = _stem(args.out, run.path / "imputed")
    with (shown := Shown()):
        found = filled(
            run,
            args.data,
            missing=args.missing,
            images=args.number if args.images is None else _rows(args.images),
            draws=args.draws,
            steps=args.steps,
            warmup=args.warmup,
            seed=args.seed,
            progress=shown,
        )
    _say_filled(run, found)
    verbs.say(str(_npz(stem, found.arrays())))
    if found.x.ndim == 4:
        verbs.say(str(verbs.save(run, found.figure(args.noise), stem.with_name(stem.name + ".png"))))


def _rows(text: str) -> list[int]:
    try:
        return [int(word) for word in text.split(",")]
    except ValueError:
        raise UsageError(f"--images is {text!r}: give rows with commas between, such as 0,3,7.") from None


def _say_filled(run: Run, found: Filled) -> None:
    draws, n = found.found.draws.shape[:2]
    share = float(found.missing.float().mean())
    verbs.say(
        f"{counted(draws, 'draw')} of each of {counted(n, noun(run.data['shape'])[:-1])}, {share:.0%} of them missing."
    )
    if found.found.acceptance is not None:
        a = found.found.acceptance
        verbs.say(
            f"  Proposals accepted: {float(a.mean()):.0%}, from {float(a.min()):.0%} to {float(a.max()):.0%} by image."
        )
    for note in found.notes:
        verbs.say(f"  {note}")


def neighbours(args: "cli.Neighbours") -> None:
    """Find the nearest images; prints them and writes a picture."""
    run = verbs.opened(args.run)
    with (shown := Shown()):
        found = nearest(run, args.image, file=args.file, split=args.split, k=args.number, progress=shown)
    table = Table(
        title=f"Nearest to {found.name}, in {found.data.name}", title_justify="left", box=None, pad_edge=False
    )
    for by in found.places:
        table.add_column(Text(f"by {by}"))
        table.add_column("distance", justify="right")
    rows = [[row for row in found.table() if row["by"] == by] for by in found.places]
    for line in zip(*rows, strict=True):
        cells: list[Text] = []
        for row in line:
            label = f" ({row['label']})" if "label" in row else ""
            cells += [Text(f"{row['image']}{label}"), Text(number(row["distance"], 3))]
        table.add_row(*cells)
    console.print(table)
    verbs.say("  Distances are Euclidean: of the codes, which are the posteriors' centres, and of the pixels.")
    if found.query.ndim == 4:
        place = Path(args.out) if args.out else run.figures / "neighbours.png"
        verbs.say(str(verbs.save(run, found.figure(), place)))


def embed(args: "cli.Embed") -> None:
    """Write the codes of a split, with labels, rows and places in a plane, as .npz and .csv, and a picture."""
    run = verbs.opened(args.run)
    stem = _stem(args.out, run.path / f"codes-{args.split}")
    known, axes = coded(run, args.split, args.plane)
    verbs.say(str(_npz(stem, known)))
    verbs.say(str(verbs.write(stem.with_name(stem.name + ".csv"), table(known).encode())))
    if "plane" in known:
        plane = torch.from_numpy(known["plane"])
        labels = torch.from_numpy(known["labels"]) if "labels" in known else None
        title = f"{args.plane.upper()} of the codes of the {args.split} {noun(run.data['shape'])}"
        figure = figures.scatter(plane, labels, run.data.get("classes"), axes, title=title)
        verbs.say(str(verbs.save(run, figure, stem.with_name(stem.name + ".png"))))


def coded(run: Run, split: str, plane: str = "pca") -> tuple[dict[str, np.ndarray], tuple[str, str]]:
    """Give the columns of a split's codes, with rows, labels and places in a plane, and the names of its axes."""
    codes, labels = begin.embed(run, split)
    return columns(run, split, codes.cpu(), None if labels is None else labels.cpu(), plane)


def columns(
    run: Run,
    split: str,
    codes: Float[torch.Tensor, "N D"],
    labels: Int[torch.Tensor, " N"] | None,
    plane: str = "pca",
) -> tuple[dict[str, np.ndarray], tuple[str, str]]:
    """Give the same of codes that are known already."""
    places, axes = _plane(codes, plane)
    rows = getattr(run.source, split).rows.cpu()
    found = {"rows": rows, "labels": labels, "codes": codes, "plane": places}
    return {name: column.numpy() for name, column in found.items() if column is not None}, axes


def _plane(codes: torch.Tensor, how: str) -> tuple[torch.Tensor | None, tuple[str, str]]:
    """Lay codes out in a plane; gives its axes' names too."""
    if how == "none":
        return None, ("", "")
    if how == "umap":
        return explore.umap(codes), ("UMAP 1", "UMAP 2")
    plane, shares = explore.pca(codes)
    first, second = (f"component {i + 1} ({share:.0%} of the variance)" for i, share in enumerate(shares))
    return plane, (first, second)


def table(columns: dict[str, Any]) -> str:
    """Write the columns of codes as CSV, every number to its last digit."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    heads = {"rows": ["row"], "labels": ["label"], "plane": ["plane_x", "plane_y"]}
    heads["codes"] = [f"z{j}" for j in range(columns["codes"].shape[1])]
    writer.writerow([head for name in columns for head in heads[name]])
    tables = [column.reshape(len(column), -1).tolist() for column in columns.values()]
    writer.writerows([repr(v) for part in line for v in part] for line in zip(*tables, strict=True))
    return text.getvalue()


def _stem(out: str | None, usual: Path) -> Path:
    """Give the files' name without ending; raises UsageError where it is a folder's."""
    stem = Path(out) if out else usual
    if stem.name in ("", ".."):
        raise UsageError(f"--out {out} is a folder: give the files' name without its ending, such as {stem / 'codes'}.")
    return stem


def _npz(stem: Path, arrays: dict[str, np.ndarray]) -> Path:
    packed = io.BytesIO()
    np.savez_compressed(packed, **arrays)  # type: ignore[arg-type]
    return verbs.write(stem.with_name(stem.name + ".npz"), packed.getvalue())
