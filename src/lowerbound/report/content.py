"""What a report shows: everything that is known about a run."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, final

BEGUN = 200  # steps; before, a latent without a KL may still come into use, and no collapse is diagnosed
SCHEDULED = {"beta": "β", "lambda": "λ", "capacity": "C"}


@final
@dataclass(frozen=True)
class Picture:
    """A picture of the report: a PNG file with its title and caption."""

    title: str
    caption: str
    path: Path | str


@final
@dataclass(frozen=True)
class Content:
    """Everything the report shows. Nothing of it is trusted: all text is escaped.

    Arguments:
        name: the run directory's name.
        path: the directory as the user typed it.
        spec, data, env, metrics: the run's JSON files; any key may be missing.
        history: the rows of history.jsonl.
        pictures: in the order of the page.
        commands: (what it does, command).
        citation: of the recipe.
        recipe: its name.
        evaluation: what was found of each split, as in evaluation.json.
        figures: the folder of the evaluation's pictures.
        unfinished: whether the training has not ended; figures are then those of its newest checkpoint.
    """

    name: str
    path: str
    spec: dict[str, Any]
    data: dict[str, Any]
    env: dict[str, Any]
    history: list[dict[str, Any]]
    metrics: dict[str, Any]
    pictures: Sequence[Picture] = ()
    commands: Sequence[tuple[str, str]] = ()
    citation: str | None = None
    recipe: str | None = None
    evaluation: Mapping[str, Any] = field(default_factory=dict)
    figures: Path | str = "figures"
    unfinished: bool = False

    @property
    def drawn(self) -> list[Picture]:
        """The pictures of the evaluation, of all splits."""
        found = [
            picture
            for split in self.evaluation.values()
            for section in split["sections"].values()
            for picture in section.get("pictures", ())
        ]
        return [Picture(p["title"], p["caption"], Path(self.figures) / p["file"]) for p in found]

    @property
    def split(self) -> str:
        """The split whose figures come first: test, or validation where there is no test."""
        return "validation" if not self.metrics.get("test") and self.metrics.get("validation") else "test"

    @property
    def measured(self) -> dict[str, Any]:
        """The figures of that split."""
        found: dict[str, Any] = self.metrics.get(self.split) or {}
        return found

    @property
    def noun(self) -> str:
        """What one example is called."""
        return "images" if len(self.data.get("shape") or ()) == 3 else "examples"

    @property
    def steps(self) -> int | None:
        """How many steps were trained, where the history tells."""
        return max((r.get("step") or 0 for r in self.history), default=None)

    @property
    def hardly_begun(self) -> bool:
        """Whether the training was too short to tell what the latents will come to."""
        return self.steps is not None and self.steps < BEGUN

    @property
    def pointlike(self) -> bool:
        """Whether q was a point mass, which has no density: something was measured, and no elbo is among it."""
        return "distortion" in self.measured and "elbo" not in self.measured

    @property
    def kl_known(self) -> bool:
        """Whether the KL of each latent was measured."""
        kl = self.measured.get("kl_by_dim")
        return kl is not None and len(kl) == self.measured.get("latents", len(kl))
