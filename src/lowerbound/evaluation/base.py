"""What a measure is given, a `Subject`, and what it gives, a `Section`: numbers, words, a table and pictures."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, final

import torch
from jaxtyping import Float, Int
from matplotlib.figure import Figure
from torch import Tensor

from lowerbound import begin, explore
from lowerbound.data import Source
from lowerbound.errors import UsageError
from lowerbound.metrics.bounds import SEED
from lowerbound.objective import Objective
from lowerbound.run import Run
from lowerbound.vae import Model

Progress = Callable[[str, int, int], None]  # what is being done, how much of it is done, of how much


def silent(what: str, done: int, total: int) -> None:
    """Show no progress."""


@final
@dataclass(frozen=True)
class Settings:
    """What an evaluation may be asked for beside its run and split; each figure records those that it depends on.

    Arguments:
        samples: latents drawn for each image in the ledger; the objective's own number if None.
        importance: K, the samples of log p(x) for each image.
        images: how many of the split log p(x) is estimated for, and AIS and the gaps measured on.
        seed: of all noise.
        features: what turns images (N, C, H, W) into features (N, F) for the measures of samples; the shipped
            classifier where None and the data are its.
        progress: is told how far a long measure is.
    """

    samples: int | None = None
    importance: int = 5000
    images: int = 100
    seed: int = SEED
    features: Callable[[Tensor], Tensor] | None = None
    progress: Progress = silent

    def __post_init__(self) -> None:
        for name in ("samples", "importance", "images"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise UsageError(f"{name} is {value}: at least 1 is needed.")


@final
@dataclass(frozen=True)
class Drawn:
    """A picture that a measure has drawn: a file's name without its ending, a title, a caption and the figure."""

    name: str
    title: str
    caption: str
    figure: Figure


@final
@dataclass(frozen=True)
class Section:
    """What one measure has found.

    Arguments:
        title: over its table.
        values: the numbers, as JSON takes them; what ``--json`` prints and the diagnosis reads.
        rows: (what, figure in words) of the table on the console and on the page; a table of several columns has more
            figures in a row, and names them in its first, whose what is empty.
        notes: sentences that belong beside the numbers, such as what an estimator's bias is.
        pictures: drawn from the numbers.
    """

    title: str
    values: Mapping[str, Any]
    rows: Sequence[tuple[str, ...]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    pictures: list[Drawn] = field(default_factory=list)


@final
@dataclass(frozen=True, eq=False)
class Subject:
    """A split of a run's data, seen by its model: what every measure is given.

    ``found`` holds the sections of the measures that went before.
    """

    run: Run
    split: str
    settings: Settings = field(default_factory=Settings)
    found: dict[str, Section] = field(default_factory=dict)

    @property
    def model(self) -> Model:
        """The run's model, in evaluation mode."""
        return self.run.model

    @property
    def source(self) -> Source:
        """The run's data."""
        return self.run.source

    @cached_property
    def objective(self) -> Objective:
        """The objective that it was trained with."""
        return begin.objective(self.run)

    @cached_property
    def known(self) -> Mapping[str, Any]:
        """What was recorded of the weights, see `lowerbound.begin.facts`."""
        return begin.facts(self.run)

    @property
    def size(self) -> int:
        """How many images the split has."""
        return len(getattr(self.source, self.split))

    def blocks(self, split: str | None = None) -> Iterable[tuple[Float[Tensor, "..."], Int[Tensor, "..."] | None]]:
        """Give (images, labels) of the split, in order; raises UsageError where it has none."""
        return begin.blocks(self.run, split or self.split)

    def images(self, n: int, split: str | None = None) -> Float[Tensor, "n *X"]:
        """Give the first n images of the split, or all there are, on the model's device, binarised as the data are."""
        part = self.source.part(split or self.split)
        return part.images(0, min(n, len(part))).to(next(self.model.parameters()).device)

    @cached_property
    def codes(self) -> tuple[Float[Tensor, "N D"], Int[Tensor, " N"] | None]:
        """The code of every image of the split, and the labels where there are any."""
        with torch.inference_mode():
            return explore.embed(self.model, self.blocks())

    def tell(self, what: str) -> Callable[[int, int], None]:
        """Give what a long function is handed to say how far it is: ``progress(done, total)``."""
        return lambda done, total: self.settings.progress(what, done, total)


Measure = Callable[[Subject], Section]
