"""What the form of a training asks for, checked by the functions of the command line, and as the command itself."""

import os
import re
import shlex
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, final

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass
from torch.utils._python_dispatch import TorchDispatchMode

from lowerbound import begin, recipes
from lowerbound import spec as specs
from lowerbound.comparison import plan as sweeps
from lowerbound.comparison.axis import axis
from lowerbound.data import Source
from lowerbound.errors import DataError, LowerboundError, UsageError
from lowerbound.job import likelihood_note
from lowerbound.process import program
from lowerbound.run import unlike

LARGEST = 1 << 28  # numbers of one tensor in a model that is tried out here
FILES = 100_000  # of a folder that is read for the page
SECONDS = 5.0  # of counting them
NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,79}")
ASSIGNMENT = re.compile(r"[A-Za-z][\w.-]*=.*", re.DOTALL)
Word = Annotated[str, Field(max_length=80)]
Setting = Annotated[str, Field(max_length=2000)]
Finite = Annotated[float, Field(ge=-1e9, le=1e9, allow_inf_nan=False)]
Whole = Annotated[int, Field(ge=-(2**31), lt=2**31)]


@final
@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Form:
    """What the page's form asks for; each is that of ``lowerbound train`` or, with a range of β, of ``sweep``."""

    data: Annotated[str, Field(min_length=1, max_length=4096)] = "mnist"
    recipe: Word | None = None
    beta: Finite | None = None
    latents: Whole | None = None
    epochs: Finite | None = None
    seed: Whole = 0
    seeds: Annotated[int, Field(ge=1, le=100)] = 1
    set: Annotated[list[Setting], Field(max_length=200)] = Field(default_factory=list)
    range: Word | None = None
    points: Annotated[int, Field(ge=2, le=50)] = 8
    name: Word | None = None

    def check(self) -> None:
        """Raise UsageError where a text could be read as an option, or as none at all."""
        for text in (self.data, *self.set, self.name or "", self.range or "", self.recipe or ""):
            if not text.isprintable():
                raise UsageError(f"{text!r} has characters that cannot be typed in a command.")
        if self.data.startswith("-"):
            raise UsageError(f"data: {self.data!r} reads as an option; write ./{self.data} for a folder of that name.")
        for one in self.set:
            if not ASSIGNMENT.fullmatch(one):
                raise UsageError(f"--set {one!r}: write it as path=value, such as objective.terms.kl.weight=4.")
        if self.range is not None and self.range.startswith("-"):
            raise UsageError(f"range: {self.range!r} is no range of β: write it as 0.1..20, or as 0.1,1,4.")
        if self.range is not None and self.beta is not None:
            raise UsageError("beta: a sweep has its β from its range; leave one of the two empty.")
        if self.name is not None and not NAME.fullmatch(self.name):
            raise UsageError("name: letters, digits, -, _ and . make a name, at most 80, and no - or . first.")

    def arguments(self, out: Path | None) -> list[str]:
        """Give the arguments of the command line."""
        options = {
            "recipe": self.recipe,
            "beta": self.range or self.beta,
            "points": self.points if self.range else None,
            "latents": self.latents,
            "epochs": self.epochs,
            "seed": self.seed or None,
            "seeds": self.seeds if self.seeds > 1 else None,
            "out": out,
        }
        given = [f for k, v in options.items() if v is not None for f in (f"--{k}", _typed(v))]
        sets = [f for one in self.set if not self._idle(one) for f in ("--set", one)]
        return ["sweep" if self.range else "train", self.data, *given, *sets]

    def _idle(self, assignment: str) -> bool:
        """Whether an assignment takes away what the recipe does not have: a prior that is fitted afterwards."""
        recipe = recipes.RECIPES.get(self.recipe or "vae")
        alone = sum(one.startswith("fit") for one in self.set) == 1
        return assignment == "fit=null" and alone and recipe is not None and "fit" not in recipe.sets

    def command(self, out: Path | None) -> str:
        """Give the command as it would be typed."""
        return f"{program()} {shlex.join(self.arguments(out))}"


def _typed(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) and float(f"{value:g}") == value else str(value)


@final
class Planner:
    """Checks forms, in one lane; the last data are kept, so that all but the first look at them is quick."""

    def __init__(self) -> None:
        self._kept: tuple[Any, tuple[dict[str, Any], Source]] | None = None

    def plan(self, form: Form) -> dict[str, Any]:
        """Tell what a form comes to: the spec, the data, the model's size. Raises UsageError or DataError.

        The model is built, and the gradient of one step taken: what cannot be trained is said now.
        """
        form.check()
        with _in_words():
            of_data, others = begin.split(form.set)
            node, source = self._open(form.data, of_data)
            spec, name = _spec(form, node, source, others)
            with _Bounded():  # type: ignore[no-untyped-call]
                job = begin.plan_job(spec, source, "cpu")
            recipe = recipes.recipe(name)
            return {
                "spec": spec,
                "recipe": {"name": name, "about": recipe.about, "citation": recipe.citation, "expect": recipe.expect},
                "data": _found(source),
                "parameters": sum(p.numel() for p in job.state.model.parameters()),
                "steps": job.total,
                "runs": form.seeds * (len(axis(form.range, None, form.points).values) if form.range else 1),
                "likelihood": likelihood_note(job.state.model, source),
            }

    def _open(self, data: str, assignments: list[str]) -> tuple[dict[str, Any], Source]:
        path = Path(data)
        _look(path)
        key = data, tuple(assignments), path.stat().st_mtime_ns if os.path.exists(path) else None
        if self._kept is None or self._kept[0] != key:
            self._kept = None  # before the next are read: never two at once
            self._kept = key, begin.open_data(data, assignments)
        return self._kept[1]


def _look(path: Path) -> None:
    """Refuse a folder with so much in it that it is hardly one of images: a path that is half typed may be all files.

    Raises UsageError. A training that is typed in a terminal reads any folder.
    """
    end, files = time.monotonic() + SECONDS, 0
    for _, _, names in os.walk(path):
        files += len(names)
        if files > FILES or time.monotonic() > end:
            raise UsageError(
                f"data: {path} holds more files, with its folders, than are read for this page ({FILES:,}). "
                "Give the folder of the images itself, or train in a terminal: lowerbound train."
            )


def _spec(form: Form, node: dict[str, Any], source: Source, others: list[str]) -> tuple[specs.Spec, str]:
    given: dict[str, Any] = {"recipe": form.recipe, "latents": form.latents, "epochs": form.epochs, "seed": form.seed}
    if form.range is None:
        return begin.plan_spec(node, source, beta=form.beta, assignments=others, **given)
    found, name = sweeps.plan(node, source, axis(form.range, None, form.points), assignments=others, **given)
    return found[0], name


def _found(source: Source) -> dict[str, Any]:
    return {
        "name": source.name,
        "shape": list(source.shape),
        "images": {part: len(getattr(source, part)) for part in ("train", "validation", "test")},
        "notes": source.info.get("notes", []),
    }


def new_name(form: Form, plan: dict[str, Any]) -> str:
    """Give the name of a run's directory: that of the form, or as ``lowerbound train`` makes one."""
    if form.name is not None:
        return form.name
    over = "-over-beta" if form.range else ""
    plain = re.sub(r"[^A-Za-z0-9_.-]+", "_", f"{plan['data']['name']}-{plan['recipe']['name']}{over}").lstrip(".-")
    return unlike(plain[:80])


def field_of(error: LowerboundError) -> str | None:
    """Find the field of the form, or the path in the spec, that an error begins with.

    Example:
        >>> field_of(UsageError("train.lr is -1: input should be greater than 0."))
        'train.lr'
    """
    text = re.sub(r"^At beta = [^:]*: ", "", str(error))
    for pattern, field in ((r"β \(--beta\)|This recipe has no β|The β of", "beta"), (r"--beta", "range")):
        if re.match(pattern, text):
            return field
    if found := re.match(r"--set '([A-Za-z][\w.-]*)=", text):
        return found[1]
    if isinstance(error, DataError) and "ikelihood" not in text:
        return "data.size" if "--size" in text else "data"
    found = re.match(r"([A-Za-z][\w-]*(?:\.[\w-]+)*)(?=:| is )", text)
    return found[1] if found and (found[1] in Form.__dataclass_fields__ or "." in found[1]) else None


@final
class _Bounded(TorchDispatchMode):
    """Refuses a tensor that would take the studio's memory, before it is made."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        size = args[0] if args and isinstance(args[0], list | tuple) else ()
        count = 1
        for n in size:
            count *= n if isinstance(n, int) else 1
        if count > LARGEST:
            raise UsageError(f"The model has a tensor of {count:,} numbers: it is too large to be tried out here.")
        return func(*args, **(kwargs or {}))


@contextmanager
def _in_words() -> Iterator[None]:
    """Say what torch and Python refuse of a model that cannot be built."""
    try:
        yield
    except RecursionError:
        raise UsageError("A value of --set is nested without end.") from None
    except OSError as error:
        raise DataError(f"The data cannot be read: {error.strerror}.") from None
    except (RuntimeError, ValueError, OverflowError, MemoryError) as error:
        raise UsageError(
            f"This cannot be built: {str(error).splitlines()[0][:300] if str(error) else error!r}"
        ) from None
