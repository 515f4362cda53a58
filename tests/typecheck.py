"""The type checker of the tests: beartype in jaxtyping's scope of sizes, at each call of a function once.

jaxtyping's own decorator binds the arguments in Python and checks them twice: a third of the time of a small model.
"""

import inspect
from collections.abc import Callable
from dataclasses import is_dataclass
from functools import wraps
from types import SimpleNamespace
from typing import Any, get_type_hints

import jaxtyping
from beartype import BeartypeConf, beartype

in_sizes = jaxtyping.jaxtyped
# an int may stand where a float is asked for (PEP 484)
typed = beartype(conf=BeartypeConf(is_pep484_tower=True, violation_type=jaxtyping.TypeCheckError))


def install() -> None:
    """Let jaxtyping's import hook decorate what is defined in the package with `check`, and nothing else."""
    jaxtyping.jaxtyped = lambda *, typechecker: typechecker  # type: ignore  # what the hook writes before a definition
    jaxtyping.install_import_hook("lowerbound", "typecheck.check")


def check(thing: Any) -> Any:
    """Check the arguments and the result of a function, or the fields of a dataclass."""
    if not inspect.isclass(thing):
        return _checked(thing)
    if is_dataclass(thing) and "__init__" in vars(thing):
        thing.__init__ = _checked(thing.__init__)  # type: ignore[method-assign]
    return thing


def _checked(function: Callable[..., Any]) -> Callable[..., Any]:
    sized = any("{" in str(hint) for hint in function.__annotations__.values())  # by the arguments: they are bound
    if sized or inspect.isgeneratorfunction(function):  # whose check else waits for its first step, out of the scope
        bound: Callable[..., Any] = in_sizes(function, typechecker=typed)
        return bound
    made: list[Callable[..., Any]] = []

    @wraps(function)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        __tracebackhide__ = True
        if not made:  # at the first call: few of the package's functions are called by one file of tests
            function.__annotations__ = _hints(function)
            made.append(typed(function))
        with in_sizes("context"):
            return made[0](*args, **kwargs)

    return wrapped


def _hints(function: Callable[..., Any]) -> dict[str, Any]:
    """Resolve the annotations; a name that is imported for mypy alone stands for anything, as it does to jaxtyping."""
    found: dict[str, Any] = {}
    for name, hint in function.__annotations__.items():
        one: Any = SimpleNamespace(__annotations__={name: hint})
        try:
            found |= get_type_hints(one, function.__globals__, include_extras=True)
        except NameError:
            found[name] = Any
    return found
