"""A run is examined, one measure after the other; what each finds is kept in evaluation.json and shown on its page."""

from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

from torch import Tensor

from lowerbound import figures, gallery
from lowerbound.errors import UsageError, nearest
from lowerbound.evaluation import LONG, MEASURES
from lowerbound.evaluation.base import Section, Settings, Subject
from lowerbound.evaluation.diagnosis import Diagnosis
from lowerbound.run import EVALUATION, Run

Refused = str


def evaluate(
    run: Run,
    split: str = "test",
    *,
    measures: Sequence[str] = ("ledger",),
    samples: int | None = None,
    importance: int = 5000,
    images: int = 100,
    features: Callable[[Tensor], Tensor] | None = None,
) -> dict[str, Any]:
    """Measure a run's model on a split: the ledger's figures, and under its name those of each other measure.

    Raises UsageError where the split has no images, or where one of the measures has no meaning for the run.

    Arguments:
        run: of `lowerbound.load` or `lowerbound.fit`.
        split: "train", "validation" or "test".
        measures: names of `lowerbound.evaluation.MEASURES`.
        samples, importance, images, features: see `lowerbound.evaluation.Settings`.
    """
    subject = Subject(run, split, Settings(samples, importance, images, features=features))
    sections, refused = examine(subject, measures)
    for name, words in refused.items():
        raise UsageError(f"{name}: {words}")
    return plain(sections)


def plain(sections: dict[str, Section]) -> dict[str, Any]:
    """Give the numbers as one mapping: the ledger's at its top, and the others' under their names."""
    ledger = dict(sections["ledger"].values) if "ledger" in sections else {}
    return ledger | {name: dict(section.values) for name, section in sections.items() if name != "ledger"}


def examine(subject: Subject, names: Sequence[str] | None = None) -> tuple[dict[str, Section], dict[str, Refused]]:
    """Take the measures of these names; gives the sections, and why others have none.

    Without names all but the long ones are taken; every one if "all" is among them.
    """
    for name in names or ():
        if name not in (*MEASURES, "all"):
            raise UsageError(f"There is no measure {name!r}; {nearest(name, [*MEASURES, 'all'])}")
    subject.blocks()  # without images there is nothing to measure
    chosen = [name for name in MEASURES if name not in LONG] if names is None else list(names)
    refused: dict[str, Refused] = {}
    for name, measure in MEASURES.items():
        if name in chosen or "all" in chosen:
            try:
                subject.found[name] = measure(subject)
            except UsageError as error:
                refused[name] = str(error)
    return subject.found, refused


def keep(subject: Subject, refused: dict[str, Refused], found: Diagnosis | None) -> None:
    """Write what was found into the run: evaluation.json, the pictures, and its page anew.

    Without a diagnosis that of an earlier evaluation stays.
    """
    run, split = subject.run, subject.split
    known = run.evaluation
    kept = known.setdefault(split, {"sections": {}, "findings": [], "unlooked": []})
    run.figures.mkdir(exist_ok=True)
    kept["sections"] |= {name: _kept(run, split, name, section) for name, section in subject.found.items()}
    kept["sections"] |= {name: {"refused": words} for name, words in refused.items()}
    kept["sections"] = {name: kept["sections"][name] for name in MEASURES if name in kept["sections"]}
    if found is not None:
        kept |= asdict(found)
    weights = subject.known["weights"]
    run.write_json(EVALUATION, {"weights": weights["sha256"], "step": weights["step"], "splits": known})
    gallery.page(run)


def _kept(run: Run, split: str, name: str, section: Section) -> dict[str, Any]:
    """Save a section's pictures, and give it as JSON."""
    pictures = []
    for picture in section.pictures:
        file = f"{split}-{name}-{picture.name}.png"
        figures.save(picture.figure, run.figures / file, note=run.weights_note)
        pictures.append({"file": file, "title": picture.title, "caption": picture.caption})
    return {
        "title": section.title,
        "values": section.values,
        "rows": section.rows,
        "notes": section.notes,
        "pictures": pictures,
    }
