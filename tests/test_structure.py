"""The house keeps its rules: classes are abstract or final, imports point one way, nothing is pickled."""

import ast
import importlib
import inspect
import pkgutil
from pathlib import Path

import pytest

import lowerbound
from lowerbound.errors import LowerboundError

ROOT = Path(lowerbound.__file__).parent
MODULES = [m.name for m in pkgutil.walk_packages([str(ROOT)], "lowerbound.") if not m.name.endswith("__main__")]
ORDER = [
    "errors",
    "words",
    "files",
    "rng",
    "omp",
    "process",
    "optimisers",
    "dist",
    "strided",
    "nets",
    "flows",
    "posterior",
    "prior",
    "likelihood",
    "vae",
    "oracle",
    "objective",
    "data",
    "train",
    "after",
    "metrics",
    "explore",
    "walk",
    "planes",
    "density",
    "gibbs",
    "spec",
    "compose",
    "recipes",
    "checkpoint",
    "run",
    "course",
    "figures",
    "report",
    "card",
    "gallery",
    "frames",
    "job",
    "progress",
    "begin",
    "seeds",
    "doctor",
    "verbs",
    "evaluation",
    "tasks",
    "comparison",
    "studio",
    "cli",
    "__main__",
]


def layer(module: str) -> int:
    return ORDER.index(module.split(".")[1]) if "." in module else -1


def public_classes(name: str) -> list[type]:
    """The classes that a module defines, but for the errors: these are a hierarchy, and are caught by their bases."""
    found = inspect.getmembers(importlib.import_module(name), inspect.isclass)
    ours = [cls for label, cls in found if cls.__module__ == name and not label.startswith("_")]
    return [cls for cls in ours if not issubclass(cls, LowerboundError)]


@pytest.mark.parametrize("name", MODULES)
def test_classes_are_abstract_or_final(name: str) -> None:
    """Modules, dataclasses and distributions alike: nothing concrete is inherited from."""
    for cls in public_classes(name):
        abstract, final = inspect.isabstract(cls), getattr(cls, "__final__", False)
        assert abstract != final, f"{cls} is neither abstract nor final, or both"
        concrete = [base for base in cls.__mro__[1:] if getattr(base, "__final__", False)]
        assert concrete == [], f"{cls} inherits from what is final"


@pytest.mark.parametrize("path", sorted(ROOT.rglob("*.py")), ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_point_one_way_and_nothing_is_pickled(path: Path) -> None:
    tree = ast.parse(path.read_text())
    own = "lowerbound." + ".".join(path.relative_to(ROOT).with_suffix("").parts)
    top = {id(node) for node in tree.body}
    for node in ast.walk(tree):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        if isinstance(node, ast.ImportFrom) and node.module:
            package = node.module == "lowerbound"
            names = [f"lowerbound.{a.name}" for a in node.names] if package else [node.module]
        assert not {n.split(".")[0] for n in names} & {"pickle", "cloudpickle", "joblib", "dill", "shelve", "marshal"}
        if path.name == "__init__.py" and path.parent == ROOT:
            continue
        upwards = [n for n in names if n.startswith("lowerbound.") and layer(n) > layer(own)]
        assert not (upwards and id(node) in top), f"{own} imports {upwards}, which stands above it"


def test_every_public_function_and_class_says_what_it_is() -> None:
    missing = []
    for name in MODULES:
        module = importlib.import_module(name)
        for label, thing in vars(module).items():
            if label.startswith("_") or getattr(thing, "__module__", None) != name:
                continue
            if (inspect.isclass(thing) or inspect.isfunction(thing)) and not inspect.getdoc(thing):
                missing.append(f"{name}.{label}")
    assert missing == []


def test_the_public_names_all_load() -> None:
    for name in lowerbound.__all__:
        assert getattr(lowerbound, name) is not None
    with pytest.raises(AttributeError, match="nothing"):
        _ = lowerbound.nothing
