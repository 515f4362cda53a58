"""What a model is given beside x comes to each of its parts, whatever the objective does with them."""

import pytest
import torch
from torch import Tensor, nn
from torch.distributions import Distribution, Independent, Normal

from lowerbound import likelihood, posterior, prior, spec
from lowerbound.objective import Objective
from lowerbound.vae import VAE

C = torch.arange(6.0)[:, None]
GOALS: list[spec.Spec] = [{"kind": kind} for kind in spec.REGISTRIES["objective"]]
GOALS += [{"kind": "elbo", "gradient": "stl"}, {"kind": "wake-sleep", "sleep": 0.5}]
GOALS += [
    {"kind": "elbo", "terms": {"distortion": {"kind": "distortion"}, "other": {"kind": kind}}}
    for kind in spec.REGISTRIES["term"]
]


def seen(c: Tensor | None) -> Tensor:
    assert c is not None
    assert torch.equal(c, C.expand(*c.shape[:-2], *C.shape))
    return c


class Known(posterior.Posterior):
    """A posterior that refuses to work without c: of data, or of pseudo-inputs with each c."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Linear(4, 4)

    def params(self, x: Tensor, c: Tensor | None = None) -> Tensor:
        assert c is not None
        seen(c[:: len(x) // len(C)])
        y: Tensor = self.net(torch.cat([x, c], -1))
        return y

    def dist(self, params: Tensor) -> Distribution:
        mu, logvar = params.chunk(2, -1)
        return Independent(Normal(mu, (0.5 * logvar).exp()), 1)

    def centre(self, q: Distribution) -> Tensor:
        return q.mean


class Decoded(likelihood.Likelihood):
    """A likelihood that refuses to work without c."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Linear(3, 3)

    def forward(self, z: Tensor, c: Tensor | None = None) -> Distribution:
        whole = seen(c).expand(*z.shape[:-1], 1)
        return Independent(Normal(self.net(torch.cat([z, whole], -1)), 1.0), 1)


@pytest.mark.parametrize("kind", ["standard", "vamp"])
@pytest.mark.parametrize("node", GOALS, ids=str)
def test_every_objective_gives_c_to_every_part_in_training_and_in_evaluation(node: spec.Spec, kind: str) -> None:
    p = prior.Standard(2) if kind == "standard" else prior.Vamp((3,), components=5)
    model = VAE(Known(), p, Decoded())
    node = {**node, "objective": {"kind": "elbo"}} if node["kind"] == "lagging" else node
    full = {"data": {"kind": "own"}, "latents": 2, "model": {"kind": "own"}, "objective": node, "train": {}, "seed": 0}
    objective: Objective = spec.build_objective(spec.check(full), 100, 1000)
    x = torch.rand(6, 3)
    losses = objective(model, x, C).losses
    assert all(torch.isfinite(value) for value in losses.values())
    torch.stack(list(losses.values())).sum().backward()
    model.eval()
    objective.eval()
    with torch.no_grad():
        assert torch.isfinite(objective(model, x, C).losses.get("model", torch.zeros(())))
