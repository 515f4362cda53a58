"""The maps of an opened run: the codes of a split and what is drawn under them, each made once, in short turns."""

from concurrent.futures import Future, wait
from dataclasses import dataclass, field
from functools import cached_property
from importlib.util import find_spec
from typing import Any, Literal, final

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.distributions import Distribution

from lowerbound import density, explore, gallery, planes, rng
from lowerbound.errors import UsageError
from lowerbound.run import Run
from lowerbound.studio.kept import Kept
from lowerbound.studio.slow import Slow, Steps, beside
from lowerbound.vae import VAE
from lowerbound.words import noun

Of = Literal["prior", "codes", "holes"]
SIDE = 160  # cells of a density along each side
DRAWS = 200_000  # of a prior whose density in a plane has no closed form
FIRST = 2048  # of them say how far the prior reaches
NUMBERS = 1 << 25  # that are held of them at most
UMAP = find_spec("umap") is not None
SOON = 0.03  # seconds, in which a plane of few codes is there
SHEETS = 8  # planes of which something is kept
LAID = {"pca": "The principal components are found", "umap": "UMAP lays the codes out"}  # planes that take their time


@final
@dataclass(frozen=True, eq=False)
class Codes:
    """What is seen on a map: the code of each row of a split, and a draw of its posterior where it has a density."""

    z: Float[Tensor, "N D"]
    drawn: Float[Tensor, "N D"]
    labels: Int[Tensor, " N"] | None


@final
@dataclass(frozen=True, eq=False)
class Density:
    """A density in a plane, and how it was found."""

    cells: Float[Tensor, "H W"]
    words: str
    mass: float | None = None


@final
@dataclass(eq=False)
class Sheet:
    """A plane, and what was found of its map so far."""

    plane: planes.Plane
    places: Float[Tensor, "N 2"] | None = None
    densities: dict[Of, Slow[Density]] = field(default_factory=dict)


@final
class Atlas:
    """The maps of one split of an opened run."""

    def __init__(self, run: Run, split: str) -> None:
        if not run.data["images"].get(split):
            raise UsageError(f"The run has no {split} {noun(run.data['shape'])}.")
        self.run, self.split = run, split
        self.codes = Slow(f"Encoding the {split} {noun(run.data['shape'])}", self._encode())
        self.draws = Slow("Drawing from the prior", self._draw())
        self._sheets: Kept[str, Sheet] = Kept(SHEETS)
        self._laid: dict[str, Future[planes.Plane]] = {}

    def _encode(self) -> Steps[Codes]:
        model, device = self.run.model, next(self.run.model.parameters()).device
        z, drawn, labels, done = [], [], [], 0
        for x, y in self.run.source.blocks(self.split):
            with torch.inference_mode(), rng.noise(0, "map", done):
                some, draw = _encoded(model, x.to(device))
            z.append(some.cpu())
            drawn.append(draw.cpu())
            labels.append(y)
            yield (done := done + len(x)), self.run.data["images"][self.split]
        known = [y.cpu() for y in labels if y is not None]
        codes = torch.cat(z)
        if not bool(codes.isfinite().all()):
            raise UsageError(
                "Some codes are not numbers, and have no place on a map: the model gives NaN, or was given it."
            )
        return Codes(codes, torch.cat(drawn), torch.cat(known) if len(known) == len(labels) else None)

    def _draw(self) -> Steps[Tensor]:
        prior, some = self.prior, []
        count = max(FIRST, min(DRAWS, NUMBERS // self.latents))
        for start in range(0, count, FIRST):
            with torch.no_grad(), rng.noise(0, "map of the prior", start):
                some.append(prior.sample(torch.Size((min(FIRST, count - start),))).cpu())
            yield start + len(some[-1]), count
        return torch.cat(some)

    @property
    def latents(self) -> int:
        """How many there are."""
        return int(self.run.spec["latents"])

    @cached_property
    def prior(self) -> Distribution:
        """p(z)."""
        assert isinstance(self.run.model, VAE)  # every spec is of one
        prior: Distribution = self.run.model.prior()
        return prior

    @cached_property
    def reach(self) -> Float[Tensor, "M D"]:
        """A few draws of the prior, which say how far it reaches."""
        with torch.no_grad(), rng.noise(0, "map of the prior", 0):
            return self.prior.sample(torch.Size((FIRST,))).cpu()

    @cached_property
    def centre(self) -> Float[Tensor, "D"]:
        """The prior's middle, or the mean of its draws where it has none."""
        try:
            return gallery.origin(self.run).cpu()
        except UsageError:
            return self.reach.mean(0)

    # planes

    def usual(self) -> str:
        """Name the plane that is shown first: of the two latents with the highest KL."""
        i, j = ([k for k, _ in gallery.latents_by_kl(self.run)] * 2)[:2]
        return f"z{i}.z{j}"

    def waiting(self, name: str) -> dict[str, Any] | None:
        """Tell how far a plane is that takes its time, or None where it is ready."""
        if not self.codes.go():
            return self.codes.progress
        if name in LAID:
            wait([self._laying(name)], SOON)
            if not self._laying(name).done():
                return {"ready": False, "words": LAID[name], "done": 0, "of": 0}
        return None

    def plane(self, name: str) -> planes.Plane:
        """Give a plane by its name: pca, umap, or two latents, such as z3.z7."""
        return self._sheet(name).plane

    def _sheet(self, name: str) -> Sheet:
        return self._sheets.made(name, lambda: Sheet(self._made(name)))

    def _made(self, name: str) -> planes.Plane:
        if name in LAID:
            return self._laying(name).result()
        i, j = (int(one[1:]) for one in name.split("."))
        return planes.latents(self.centre, i, j)

    def _laying(self, name: str) -> "Future[planes.Plane]":
        """Begin to lay the codes out, once."""
        if name not in self._laid:
            self._laid[name] = beside(planes.pca if name == "pca" else _umap, self.codes.result.z)
        return self._laid[name]

    def places(self, name: str) -> Float[Tensor, "N 2"]:
        """Give where each code is on a plane's map; on a line, y spreads them for the eye, at random."""
        sheet = self._sheet(name)
        if sheet.places is None:
            xy = self._seen(sheet.plane).float()
            if isinstance(sheet.plane, planes.Linear) and sheet.plane.line:
                *_, low, high = self.bounds(name)
                with rng.noise(0, "map's spread"):
                    xy[:, 1] = 0.8 * (low + (high - low) * torch.rand(len(xy)))
            sheet.places = xy
        return sheet.places

    def bounds(self, name: str) -> planes.Bounds:
        """Give what a plane's map shows at first; densities reach farther, see `planes.around`."""
        plane = self.plane(name)
        if not isinstance(plane, planes.Linear):
            return planes.bounds(self._seen(plane))
        return planes.bounds(self._seen(plane), plane.project(self.reach), plane.line)

    def _seen(self, plane: planes.Plane) -> Float[Tensor, "N 2"]:
        return plane.places if isinstance(plane, planes.Layout) else plane.project(self.codes.result.z)

    # densities

    def under(self, name: str, of: Of) -> Slow[Density]:
        """Give the work that makes a density in a plane."""
        sheet = self._sheet(name)
        if of not in sheet.densities:
            if not isinstance(sheet.plane, planes.Linear):
                raise UsageError("UMAP lays out the codes only: nothing has a density there.")
            words = {"prior": "The prior's density", "codes": "The codes' density", "holes": "The holes"}[of]
            sheet.densities[of] = Slow(words, self._density(name, sheet.plane, of))
        return sheet.densities[of]

    def _density(self, name: str, plane: planes.Linear, of: Of) -> Steps[Density]:
        grid = density.grid_over(planes.around(self.bounds(name)), SIDE)
        if of == "holes":
            return (yield from self._holes(name, plane, grid))
        if of == "codes":
            xy = plane.project(self.codes.result.drawn)
            return (yield from _smooth(xy, grid, plane.line, "draws of q(z|x), one each,"))
        with torch.no_grad():
            found = density.exact(plane, self.prior, grid)
        if found is not None:
            return Density(found, "the prior's density, exact")
        while not self.draws.go(0):
            yield self.draws.done, self.draws.of
        return (yield from _smooth(plane.project(self.draws.result), grid, plane.line, "draws of the prior"))

    def _holes(self, name: str, plane: planes.Linear, grid: density.Grid) -> Steps[Density]:
        p, q = (self.under(name, of) for of in ("prior", "codes"))
        for work in (p, q):
            while not work.go(0):
                yield work.done, work.of
        h = density.bandwidths(plane.project(self.codes.result.drawn), grid, plane.line)
        prior = density.widened(p.result.cells, grid, h, plane.line)
        area = float(grid.x[1] - grid.x[0]) / SIDE if plane.line else grid.area
        more, mass = density.holes(prior, q.result.cells, area)
        return Density(more, f"the prior's density, smoothed alike, less that of {q.result.words}", mass)


def _encoded(model: Any, x: Tensor) -> tuple[Tensor, Tensor]:
    """Give the code of each x, and a draw of its posterior."""
    q = model.posterior(x)
    return model.posterior.centre(q), q.sample()


def _smooth(xy: Float[Tensor, "N 2"], grid: density.Grid, line: bool, what: str) -> Steps[Density]:
    h = density.bandwidths(xy, grid, line)
    for done, found in density.smoothed(xy, grid, h, line):
        cells = found
        yield done, len(xy)
    along = f"{h[0]:.2g}" if line else f"{h[0]:.2g} × {h[1]:.2g}"
    return Density(cells, f"{len(xy):,} {what} smoothed by a Gaussian of {along}")


def _umap(codes: Float[Tensor, "N D"]) -> planes.Plane:
    return planes.Layout(("UMAP 1", "UMAP 2"), codes, explore.umap(codes))
