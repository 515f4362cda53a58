"""What a scoring of images gives: a score for each, a threshold, a table and two pictures."""

import csv
import io
import math
from dataclasses import dataclass, field
from typing import Any, final

import torch
from jaxtyping import Bool, Float
from matplotlib.figure import Figure
from torch import Tensor

from lowerbound import figures, metrics
from lowerbound.errors import UsageError
from lowerbound.metrics.anomaly import Area
from lowerbound.tasks.given import Given

SHOWN = 10  # of the most and the least anomalous images


@final
@dataclass(frozen=True, eq=False)
class Scores:
    """The anomaly scores of some images, in nats: the higher, the more anomalous.

    Arguments:
        method: of `lowerbound.metrics.score`.
        data: the images, in the order of the scores; those of a second set last.
        scores: of each image.
        normal: the scores of held-out normal images, by which the threshold was set; None where it was not.
        false_alarms: the rate that was asked for.
        threshold: above it an image is flagged; infinite where the normal images are too few for the rate.
        p_values: of each image among the normal ones.
        anomalous: which images are known to be anomalous.
        area: under the ROC curve, where that is known.
        notes: what must be said beside the numbers.
    """

    method: str
    data: list[Given]
    scores: Float[Tensor, "N"]
    normal: Float[Tensor, "M"] | None = None
    false_alarms: float | None = None
    threshold: float | None = None
    p_values: Float[Tensor, "N"] | None = None
    anomalous: Bool[Tensor, "N"] | None = None
    area: Area | None = None
    notes: list[str] = field(default_factory=list)

    @property
    def flagged(self) -> Bool[Tensor, "N"] | None:
        """Which images score above the threshold."""
        return None if self.threshold is None else self.scores > self.threshold

    def place(self, i: int) -> tuple[Given, int]:
        """Say which image a score belongs to: the data, and its place in them."""
        for part in self.data:
            if i < len(part):
                return part, i
            i -= len(part)
        raise IndexError(i)

    def rates(self) -> dict[str, float]:
        """Give the share of the known normal images that is flagged, and of the anomalous ones."""
        if self.flagged is None or self.anomalous is None:
            return {}
        kinds = {"normal": ~self.anomalous, "anomalous": self.anomalous}
        return {name: float(self.flagged[which].double().mean()) for name, which in kinds.items()}

    def summary(self) -> dict[str, Any]:
        """Give what was found in JSON's types; an infinite threshold is None."""
        finite = self.threshold is not None and math.isfinite(self.threshold)
        return {
            "method": self.method,
            "images": len(self.scores),
            "calibrated_on": None if self.normal is None else len(self.normal),
            "false_alarms": self.false_alarms,
            "threshold": self.threshold if finite else None,
            "flagged": None if self.flagged is None else int(self.flagged.sum()),
            **{f"flagged_of_{name}": rate for name, rate in self.rates().items()},
            "area": None if self.area is None else vars(self.area),
            "notes": self.notes,
        }

    def table(self) -> str:
        """Give a row for each image as CSV: what it is called, its label, score, p-value and whether it is flagged."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        named, labels = any(part.files for part in self.data), any(p.split.labels is not None for p in self.data)
        known, set_by = self.anomalous is not None, self.normal is not None
        heads = {"data": len(self.data) > 1, "file" if named else "row": True, "label": labels, "anomalous": known,
                 "score": True, "p_value": set_by, "flagged": set_by}  # fmt: skip
        writer.writerow([head for head, there in heads.items() if there])
        for i in range(len(self.scores)):
            cells = self._cells(i)
            writer.writerow([cells[head] for head, there in heads.items() if there])
        return text.getvalue()

    def _cells(self, i: int) -> dict[str, Any]:
        part, j = self.place(i)
        label = part.split.targets(j, j + 1)
        return {
            "data": part.name,
            "file": part.called(j),
            "row": part.called(j),
            "label": "" if label is None else int(label),
            "anomalous": "" if self.anomalous is None else int(self.anomalous[i]),
            "score": repr(float(self.scores[i])),
            "p_value": "" if self.p_values is None else repr(float(self.p_values[i])),
            "flagged": "" if self.flagged is None else int(self.flagged[i]),
        }

    def figure(self) -> Figure:
        """Draw the scores of normal images and of these, with the threshold, and the most and least anomalous."""
        order = self.scores.argsort(descending=True, stable=True)
        ends = (order[:SHOWN], order.flip(0)[:SHOWN])
        images = [torch.cat([self._image(int(i)) for i in end]) for end in ends]
        return figures.anomalies(
            self.scores,
            self.normal,
            self.threshold,
            self.anomalous,
            strips=[(x, self.scores[end]) for x, end in zip(images, ends, strict=True)] if images[0].ndim == 4 else [],
            axis=f"anomaly score by {self.method}, in nats",
        )

    def curve(self) -> Figure:
        """Draw the ROC curve; raises UsageError where it is not known which images are anomalous."""
        if self.anomalous is None or self.area is None:
            raise UsageError("A ROC curve needs to know which images are anomalous: give anomalous labels, or against.")
        rates = self.rates()
        at = (rates["normal"], rates["anomalous"]) if rates else None
        return figures.roc(*metrics.roc(self.scores, self.anomalous), words(self.area), at)

    def _image(self, i: int) -> Tensor:
        part, j = self.place(i)
        return part.split.images(j, j + 1).cpu()


def words(area: Area) -> str:
    """Say an area under the ROC curve with its interval."""
    if area.low is None:
        return f"{area.value:.3f}"
    return f"{area.value:.3f} (95 % interval {area.low:.3f} to {area.high:.3f})"
