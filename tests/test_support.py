"""Whether p(x|z) has an image in its support is asked in one way, by all who call something a likelihood."""

import pytest
import torch
from torch.distributions import Bernoulli, Distribution, Independent, Normal, Uniform

from lowerbound import data, likelihood, metrics, nets, posterior, prior
from lowerbound.errors import UsageError
from lowerbound.job import likelihood_note
from lowerbound.metrics.bits import counts
from lowerbound.metrics.support import inside, refuse_outside
from lowerbound.vae import VAE

X = torch.tensor([[[0.0, 1.0]], [[0.0, 0.5]], [[2.0, 1.0]]])  # bits, grey, and beyond [0, 1]
SHAPE = X.shape[1:]


@pytest.mark.parametrize(
    ("px", "there", "counted"),
    [
        (Independent(Bernoulli(torch.full(SHAPE, 0.5)), 2), [True, False, False], True),
        (Independent(Bernoulli(torch.full((1, 1, *SHAPE), 0.5)), 2), [True, False, False], True),  # of one latent
        (Bernoulli(torch.full(SHAPE, 0.5)), [True, False, False], True),  # coordinates that are examples of their own
        (Independent(Uniform(torch.zeros(SHAPE), 1.0), 2), [True, True, False], False),
        (Independent(Normal(torch.zeros(SHAPE), 1.0), 2), [True, True, True], False),
    ],
    ids=["bernoulli", "of one latent", "not joined", "uniform", "normal"],
)
def test_an_image_is_inside_where_all_of_it_is(px: Distribution, there: list[bool], counted: bool) -> None:
    found = inside(px, X)
    assert found is not None
    assert found.tolist() == there
    assert counts(px, X[:1]) is counted
    assert not counts(px, X)
    refuse_outside(px, X[:1])
    if not all(there):
        with pytest.raises(UsageError, match=f"Image {7 + there.index(False)} has values outside the support"):
            refuse_outside(px, X, 7)


class Mute(likelihood.Likelihood):
    """A likelihood of one's own whose p(x|z) does not say where it lives."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nets.MLP((2,), (2,))

    def forward(self, z: torch.Tensor, c: torch.Tensor | None = None) -> Distribution:
        x = self.net(z)
        return Distribution(x.shape[:-1], x.shape[-1:], validate_args=False)


def test_of_a_distribution_that_does_not_say_nothing_is_claimed_and_nothing_refused() -> None:
    model = VAE(posterior.Gaussian(nets.MLP((2,)), 2), prior.Standard(2), Mute())
    x = torch.rand(20, 2)
    px = model(x[:1]).px
    assert inside(px, x) is None
    assert not counts(px, x)
    refuse_outside(px, x)
    assert likelihood_note(model, data.tensor(x)) == {"name": "Mute", "density": None, "note": ""}
    with pytest.raises(UsageError, match="is a density"):
        metrics.bits_per_dimension(1.0, px)
