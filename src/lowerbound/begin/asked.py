"""What a user asks for, as data and a spec: a recipe, arguments, and assignments such as those of ``--set``."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lowerbound import data as sources
from lowerbound import recipes
from lowerbound import spec as specs
from lowerbound.data import Source
from lowerbound.data.npy import stored_arrays
from lowerbound.errors import UsageError


def split(assignments: Sequence[str]) -> tuple[list[str], list[str]]:
    """Part the assignments that are the data's from the others; raises UsageError where one replaces the data."""
    of_data: list[str] = []
    others: list[str] = []
    for assignment in assignments:
        key = assignment.partition("=")[0].strip()
        if key == "data":
            raise UsageError(
                f"--set {assignment!r}: the data are given as the argument DATA, lowerbound train DATA, or "
                "lowerbound.fit(data) in Python; --set takes their arguments, such as data.validation=500."
            )
        (of_data if key.startswith("data.") else others).append(assignment)
    return of_data, others


def open_data(data: Any, assignments: Sequence[str] = (), **arguments: Any) -> tuple[dict[str, Any], Source]:
    """Find what the user named, and load it: the data node of the spec, and the source.

    ``assignments`` are those of ``--set`` that begin with ``data.``; ``arguments`` are the loader's.
    """
    if not isinstance(data, str | Path):
        if assignments:
            raise UsageError(
                f"--set {assignments[0]!r}: data given in Python have their arguments already; "
                "give them there, such as lowerbound.data.tensor(x, validation=500)."
            )
        return {**specs.OWN}, sources.given(data)
    node: dict[str, Any] = {**sources.locate(str(data)), **arguments}
    node = specs.complete("data", node, "data")
    for assignment in assignments:
        node = specs.complete("data", specs.assign({"data": node}, assignment)["data"], "data")
    _make_absolute(node)
    return node, specs.build_source({"data": node})


def _make_absolute(node: dict[str, Any]) -> None:
    """Write out where the files are, so that the run finds them from any folder."""
    if "path" in node:
        node["path"] = str(Path(node["path"]).resolve())
    labels = node.get("labels")
    if isinstance(labels, str) and Path(labels).is_file() and labels not in stored_arrays(Path(node["path"])):
        node["labels"] = str(Path(labels).resolve())


def plan_spec(
    data: Mapping[str, Any],
    source: Source,
    *,
    recipe: str | None = None,
    beta: float | None = None,
    latents: int | None = None,
    epochs: float | None = None,
    seed: int | None = None,
    assignments: Sequence[str] = (),
    own: bool = False,
) -> tuple[specs.Spec, str]:
    """Lay recipe, arguments and assignments over the default spec, check it, and name the recipe that it is."""
    name = recipe or ("vae" if beta is None else "beta-vae")
    spec = recipes.base(data, source.shape, len(source.train))
    spec = recipes.with_networks(specs.merge(spec, recipes.recipe(name).sets), source.shape)
    if beta is not None:
        spec = _with_beta(spec, beta)
    if latents is not None:
        spec["latents"] = latents
    if seed is not None:
        spec["seed"] = seed
    if epochs is not None:
        spec["train"]["epochs"] = epochs
    for assignment in assignments:
        spec = recipes.with_networks(specs.assign(specs.check(spec), assignment), source.shape)
    if own:
        spec["model"] = {**specs.OWN}
        name = "own"  # whatever it is, it is not the published model that the recipe cites
    return specs.check(spec), name


def _with_beta(spec: specs.Spec, beta: float) -> specs.Spec:
    spec = recipes.with_beta(spec, beta)
    try:
        specs.check(spec)
    except UsageError as error:
        raise UsageError(f"β (--beta) is {beta:g}: {error}") from None
    return spec
