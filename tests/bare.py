"""A model of the user's own, which has no parts: what it would do is never reached."""

from torch import Tensor

from lowerbound.vae import Model, Trace


class Bare(Model):
    def forward(self, x: Tensor, c: Tensor | None = None, *, samples: int = 1) -> Trace:
        raise NotImplementedError

    def encode(self, x: Tensor, c: Tensor | None = None) -> Tensor:
        raise NotImplementedError

    def decode(self, z: Tensor, c: Tensor | None = None) -> Tensor:
        raise NotImplementedError

    def draw_latents(self, n: int, *, seed: int, temperature: float = 1.0) -> Tensor:
        raise NotImplementedError
