"""Priors p(z)."""

from abc import ABC, abstractmethod
from typing import Annotated, ClassVar, final

import torch
from annotated_types import Ge
from torch import Tensor, nn
from torch.distributions import Distribution, Independent, Normal

from lowerbound.posterior import Posterior


class Prior(nn.Module, ABC):
    """A module whose forward gives p(z), with batch shape () or, given c, (B,)."""

    space: ClassVar[str] = "euclidean"
    density: ClassVar[bool] = True

    @abstractmethod
    def forward(self, c: Tensor | None = None) -> Distribution:
        """Give p(z)."""

    def attach(self, posterior: Posterior) -> None:
        """Learn of the model's posterior; a prior made of it keeps it, unregistered, and others do nothing."""


@final
class Standard(Prior):
    """The standard normal N(0, I).

    Example:
        >>> Standard(16)().sample((64,)).shape
        torch.Size([64, 16])
    """

    zero: Tensor
    one: Tensor

    def __init__(self, latents: Annotated[int, Ge(1)]) -> None:
        super().__init__()
        self.register_buffer("zero", torch.zeros(latents), persistent=False)
        self.register_buffer("one", torch.ones(latents), persistent=False)

    def forward(self, c: Tensor | None = None) -> Distribution:
        """Give N(0, I), with batch shape ()."""
        return Independent(Normal(self.zero, self.one, validate_args=False), 1, validate_args=False)
