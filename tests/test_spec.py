"""Specs: checked against the constructors, completed, turned into objects; recipes are specs."""

import copy
import json

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from lowerbound import recipes, spec
from lowerbound.begin import plan_spec
from lowerbound.data import tensor
from lowerbound.errors import UsageError
from lowerbound.objective import KL, Capacity, FreeBits, weight
from lowerbound.vae import VAE

SHAPE = (1, 12, 10)


def base() -> spec.Spec:
    return spec.check(recipes.base({"kind": "digits"}, SHAPE))


def test_a_checked_spec_is_complete_and_plain_json() -> None:
    done = base()
    assert json.loads(json.dumps(done)) == done
    assert spec.check(done) == done
    assert done["train"]["lr"] == 0.006
    assert done["data"]["validation"] == 0.1


def test_checking_leaves_the_callers_spec_alone() -> None:
    given_spec = recipes.base({"kind": "digits"}, SHAPE)
    before = copy.deepcopy(given_spec)
    spec.check(given_spec)
    assert given_spec == before


@pytest.mark.parametrize(
    ("assignment", "words"),
    [
        ("objective.terms.kl.weight=-1", r"objective\.terms\.kl\.weight is -1.*greater than or equal to 0"),
        ("objective.terms.kl.wieght=4", r"no such key; did you mean 'weight'"),
        ("objective.terms.lk.weight=4", r"no 'objective.terms.lk'; did you mean 'kl'"),
        ("model.prior.kind=own-one", r"no prior 'own-one'.*registered"),
        ("model.posterior.net.kind=convv", r"no encoder 'convv'; did you mean 'conv'"),
        ("train.lr=fast", r"train\.lr is 'fast'"),
        ("train.lr=0", r"greater than 0"),
        ("train.lr=1e400", r"finite"),
        ("train.betas=[0.9]", r"train\.betas"),
        ("train.batch=2.5", r"train\.batch is 2\.5"),
        ("train.batch=true", r"train\.batch is True"),
        ("latents=0", r"latents is 0"),
        ("latents=true", r"latents is True"),
        ("seed=-1", r"seed is -1"),
        ("model.posterior.latents=3", r"no such key"),
        ("model.posterior=5", r"expected a node"),
        ("objective.terms=5", r"objective\.terms"),
        ("model.likelihood.kind=gaussian2", r"did you mean 'gaussian'"),
        ("data.kind=__import__", r"no data '__import__'"),
        ("nothing", r"path=value"),
        ("=3", r"path=value"),
        ("data.valdation=3", r"did you mean 'validation'"),
    ],
)
def test_a_wrong_assignment_names_its_path_and_the_nearest_key(assignment: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        spec.check(spec.assign(base(), assignment))


@pytest.mark.parametrize("key", ["modle", "extra"])
def test_unknown_and_missing_top_keys_are_named(key: str) -> None:
    with pytest.raises(UsageError, match=key):
        spec.check({**base(), key: 1})
    short = base()
    del short["latents"]
    with pytest.raises(UsageError, match="latents: missing"):
        spec.check(short)


def test_setting_a_kind_resets_the_nodes_arguments_and_keeps_its_neighbours() -> None:
    done = base()
    changed = spec.assign(done, "model.posterior.net.kind=mlp")
    assert changed["model"]["posterior"]["net"] == {"kind": "mlp"}
    assert changed["model"]["likelihood"] == done["model"]["likelihood"]
    assert spec.check(changed)["model"]["posterior"]["net"]["hidden"] == [400]


def test_a_likelihood_that_replaces_another_keeps_a_network_that_suits_the_data() -> None:
    source = tensor(torch.rand(40, *SHAPE))
    done, _ = plan_spec({"kind": "own"}, source, assignments=["model.likelihood.kind=gaussian"], own=False)
    assert done["model"]["likelihood"]["net"]["kind"] == "conv"
    assert done["model"]["likelihood"]["sigma"] == "optimal"


def test_weights_are_numbers_or_schedules() -> None:
    plain = spec.build_objective(spec.check(spec.assign(base(), "objective.terms.kl.weight=4")), 100, 50)
    assert plain.terms["kl"].weight(0) == 4.0
    node = '{"kind": "linear", "end": 2.0, "until": 1.0}'
    rising = spec.build_objective(spec.check(spec.assign(base(), f"objective.terms.kl.weight={node}")), 100, 50)
    assert [rising.terms["kl"].weight(t) for t in (0, 50, 100)] == [0.0, 1.0, 2.0]


def test_build_gives_model_objective_and_data() -> None:
    model, objective, source = spec.build({**recipes.base({"kind": "digits"}, (1, 8, 8)), "latents": 3})
    loss = objective(model, source.batch(0, 5, seed=0)[0])
    assert torch.isfinite(loss.losses["model"])
    assert model.sample(2).shape == (2, 1, 8, 8)


def test_the_seed_decides_the_weights() -> None:
    def first(seed: int) -> torch.Tensor:
        model = spec.build_model({**base(), "seed": seed}, SHAPE, True)
        return next(model.parameters()).detach()

    assert torch.equal(first(0), first(0))
    assert not torch.equal(first(0), first(1))


def test_describe_gives_every_argument_with_help_and_type() -> None:
    for registry, kinds in spec.REGISTRIES.items():
        for kind in kinds:
            for field in spec.describe(registry, kind):
                assert field.type
                assert field.help, f"{registry} {kind} {field.name} has no help"
    (field,) = spec.describe("term", "kl")
    assert (field.name, field.default, field.node, field.help) == (
        "weight",
        1.0,
        "weight",
        "β, a number or a schedule.",
    )


def test_own_parts_are_registered_by_name() -> None:
    @spec.register("encoder", "test-own")
    class Own(nn.Module):
        def __init__(self, shape: tuple[int, ...], width: int = 7) -> None:
            super().__init__()
            self.features = width
            self.net = nn.Sequential(nn.Flatten(), nn.Linear(shape[0] * shape[1] * shape[2], width))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y: torch.Tensor = self.net(x)
            return y

    try:
        done = spec.check(spec.assign(base(), "model.posterior.net.kind=test-own"))
        assert done["model"]["posterior"]["net"] == {"kind": "test-own", "width": 7}
        model = spec.build_model(done, SHAPE, True)
        assert isinstance(model, VAE)
        assert isinstance(model.posterior.net, Own)
        with pytest.raises(UsageError, match="there already"):
            spec.register("encoder", "conv")(Own)
    finally:
        del spec.REGISTRIES["encoder"]["test-own"]
    with pytest.raises(UsageError, match=r"lowerbound\.register\('encoder', 'test-own'\)"):
        spec.check(done)
    with pytest.raises(UsageError, match="did you mean 'encoder'"):
        spec.register("encoders", "x")


# recipes


def objective_of(name: str) -> nn.ModuleDict:
    done = spec.check(recipes.with_networks(spec.merge(base(), recipes.recipe(name).sets), SHAPE))
    return spec.build_objective(done, 1000, 50).terms


@pytest.mark.parametrize("name", recipes.RECIPES)
def test_every_recipe_builds_and_has_a_citation_with_a_year(name: str) -> None:
    done = spec.check(recipes.with_networks(spec.merge(base(), recipes.recipe(name).sets), SHAPE))
    model, objective = spec.build_model(done, SHAPE, True), spec.build_objective(done, 100, 50)
    objective(model, torch.rand(4, *SHAPE), step=99).losses["model"].backward()  # when everything moves
    assert all(p.grad is not None for p in model.parameters())
    assert any(str(year) in recipes.recipe(name).citation for year in range(2013, 2027))


def test_recipes_are_what_their_papers_say() -> None:
    vae, beta = objective_of("vae"), objective_of("beta-vae")
    assert isinstance(vae["kl"], KL)
    assert (vae["kl"].weight.end, beta["kl"].weight.end) == (1.0, 4.0)
    annealed = objective_of("annealed-vae")
    assert set(annealed) == {"distortion", "capacity"}
    assert isinstance(annealed["capacity"], Capacity)
    assert [annealed["capacity"].capacity(t) for t in (0, 250, 500, 999)] == [0.0, 12.5, 25.0, 25.0]
    assert isinstance(objective_of("cyclic-vae")["kl"].weight, weight.Cyclic)
    free = objective_of("free-bits")
    assert set(free) == {"distortion", "free-bits"}
    assert isinstance(free["free-bits"], FreeBits)
    sigma = spec.merge(base(), recipes.recipe("sigma-vae").sets)["model"]["likelihood"]
    assert (sigma["kind"], sigma["sigma"]) == ("gaussian", "optimal")


def test_an_unknown_recipe_names_the_nearest() -> None:
    with pytest.raises(UsageError, match="did you mean 'beta-vae'"):
        recipes.recipe("beta_vae")


def test_beta_is_the_number_or_the_end_of_its_schedule() -> None:
    number = recipes.with_beta(base(), 7.0)
    assert number["objective"]["terms"]["kl"]["weight"] == 7.0
    cyclic = recipes.with_beta(spec.merge(base(), recipes.recipe("cyclic-vae").sets), 7.0)
    assert cyclic["objective"]["terms"]["kl"]["weight"] == {"kind": "cyclic", "end": 7.0, "cycles": 4, "ratio": 0.5}
    with pytest.raises(UsageError, match="no β"):
        recipes.with_beta(spec.merge(base(), recipes.recipe("annealed-vae").sets), 7.0)


@given(st.integers(1, 5), st.integers(4, 300), st.integers(4, 300))
@settings(max_examples=60, derandomize=True, deadline=None)
def test_the_chosen_networks_fit_any_image(c: int, h: int, w: int) -> None:
    from lowerbound.nets import halvings

    encoder, decoder = recipes.networks((c, h, w))
    sizes = halvings((c, h, w), len(encoder["channels"]))
    assert min(sizes[-1]) >= 1
    assert max(h, w) >= max(sizes[-1]) * 2
    assert decoder["channels"] == encoder["channels"][::-1]


def test_vectors_and_tiny_images_get_an_mlp() -> None:
    assert {net["kind"] for shape in ((2,), (1, 3, 9)) for net in recipes.networks(shape)} == {"mlp"}


def test_types_are_said_in_words() -> None:
    found = {
        f"{registry} {kind} {field.name}": field.type
        for registry, kinds in spec.REGISTRIES.items()
        for kind in kinds
        for field in spec.describe(registry, kind)
    }
    assert {name: text for name, text in found.items() if set(text) & set("[]()\\\\") or "Annotated" in text} == {}
    assert found["data folder size"] == "list of 2, each whole number ≥ 1 and ≤ 16384 or null"
    assert found["encoder mlp hidden"] == "list of 1 or more, each whole number ≥ 1"
    assert found["train plan schedule"] == '"cosine" or "constant"'
    assert found["train plan betas"] == "list of 2, each number ≥ 0 and < 1"
    words = " or ".join(f'"{word}"' for word in ("learned", "pixel", "image", "each", "optimal"))
    assert found["likelihood gaussian sigma"] == f"number > 0 or {words}"
    helps = [f.help for registry, kinds in spec.REGISTRIES.items() for k in kinds for f in spec.describe(registry, k)]
    assert [text for text in helps if "\\" in text] == []
