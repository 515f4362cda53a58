"""The tests' checker of types and shapes: it is at work in the package, and stops what an annotation does not allow."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
import torch
from jaxtyping import Float, TypeCheckError
from torch import Tensor

from lowerbound import spec
from typecheck import check

if TYPE_CHECKING:
    from lowerbound.run import Run

X = torch.zeros(2, 3)


@check
def added(x: Float[Tensor, "B D"], y: Float[Tensor, "B D"], scale: float = 1.0) -> Float[Tensor, "B"]:
    return ((x + y) * scale).sum(1) if scale else x


@check
def drawn(n: int, wrong: int = 0) -> Float[Tensor, "{n}"]:
    return torch.zeros(n + wrong)


@check
def named(run: "Run | None", later: "int") -> str:
    return f"{run} {later}"


@check
def parts(x: Float[Tensor, "B D"], y: Float[Tensor, "B D"]) -> Iterator[Tensor]:
    yield x + y


@check
@dataclass(frozen=True)
class Pair:
    """Two of one length."""

    x: Float[Tensor, "N"]
    y: Float[Tensor, "N"]


@check
class Plain:
    """No dataclass: its methods are checked each by itself."""

    def __init__(self, n: int) -> None:
        self.n = n


def test_what_the_annotations_allow_passes() -> None:
    assert added(X, X, 2).shape == (2,)  # an int is a float
    assert added(X[:1], X[:1]).shape == (1,)  # of another size than in the call before
    assert drawn(3).shape == (3,)
    assert [part.shape for part in parts(X, X)] == [(2, 3)]
    assert Pair(X[0], X[0]).y.shape == (3,)
    assert Plain(3).n == 3
    assert named(None, 3) == "None 3"  # Run is known to mypy alone


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: added(X, X.T),
        lambda: added(X, X[0]),
        lambda: added(X, X.long()),
        lambda: added(X, X, "2"),
        lambda: added(X, X, 0.0),  # the result has another shape than it is said to have
        lambda: drawn(3, wrong=1),
        lambda: drawn(3.0),
        lambda: named(None, "3"),
        lambda: parts(X, X.T),
        lambda: Pair(X[0], X[:, 0]),
        lambda: Pair(X[0], None),  # type: ignore[arg-type]
    ],
)
def test_what_they_do_not_allow_is_an_error(wrong: Any) -> None:
    with pytest.raises(TypeCheckError):
        wrong()


def test_the_package_is_checked() -> None:
    with pytest.raises(TypeCheckError, match="registry"):
        spec.describe(1, "mlp")  # type: ignore[arg-type]
    encoder = spec.construct("encoder", {"kind": "mlp"}, {"shape": (1, 2, 3), "latents": 2})
    with pytest.raises(TypeCheckError):
        encoder.forward(X.long()[:, None, None])
