"""Walks through the latent space are the formulas they say."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.decomposition import PCA

import linear
from lowerbound import explore
from lowerbound.errors import UsageError
from lowerbound.metrics import active_units

vectors = st.lists(st.floats(-3, 3), min_size=3, max_size=3).map(lambda v: torch.tensor(v, dtype=torch.float64))


@given(vectors, vectors, st.sampled_from(["linear", "spherical"]))
@settings(max_examples=80, derandomize=True, deadline=None)
def test_interpolation_keeps_its_ends_and_is_finite(a: torch.Tensor, b: torch.Tensor, kind: str) -> None:
    path = explore.interpolate(a, b, 7, kind)  # type: ignore[arg-type]
    assert torch.isfinite(path).all()
    torch.testing.assert_close(path[0], a, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(path[-1], b, rtol=1e-6, atol=1e-6)


def test_the_arc_keeps_the_length_and_turns_evenly_where_the_line_does_not() -> None:
    a, b = torch.tensor([2.0, 0.0]).double(), torch.tensor([0.0, 2.0]).double()
    arc, line = explore.interpolate(a, b, 5), explore.interpolate(a, b, 5, "linear")
    torch.testing.assert_close(arc.norm(dim=1), torch.full((5,), 2.0).double())
    angles = torch.atan2(arc[:, 1], arc[:, 0])
    torch.testing.assert_close(angles.diff(), torch.full((4,), math.pi / 8).double())
    torch.testing.assert_close(line[2], torch.tensor([1.0, 1.0]).double())


@given(vectors, vectors)
@settings(max_examples=80, derandomize=True, deadline=None)
def test_the_arc_never_leads_further_out_than_its_ends(a: torch.Tensor, b: torch.Tensor) -> None:
    for end in (b, -1.3 * a + 1e-3 * b):  # almost opposite ways, of another length
        path = explore.interpolate(a, end, 7)
        assert path.norm(dim=1).max() <= max(a.norm(), end.norm()) * (1 + 1e-6)


def test_interpolation_takes_a_batch() -> None:
    a, b = torch.randn(4, 3), torch.randn(4, 3)
    whole = explore.interpolate(a, b, 6)
    assert whole.shape == (4, 6, 3)
    torch.testing.assert_close(whole[2], explore.interpolate(a[2], b[2], 6))


@pytest.mark.parametrize("kind", ["linear", "spherical"])
def test_a_way_is_its_interpolations_one_after_the_other(kind: str) -> None:
    anchors = torch.randn(4, 3, generator=torch.Generator().manual_seed(0)).double()
    found = explore.way(anchors, 5, kind)  # type: ignore[arg-type]
    assert len(found) == 13
    for i in range(3):
        leg = explore.interpolate(anchors[i], anchors[i + 1], 5, kind)  # type: ignore[arg-type]
        torch.testing.assert_close(found[4 * i : 4 * i + 5], leg)


@pytest.mark.parametrize(("anchors", "steps"), [(1, 5), (3, 1)])
def test_a_way_needs_two_ends(anchors: int, steps: int) -> None:
    with pytest.raises(UsageError, match="two of each"):
        explore.way(torch.zeros(anchors, 2), steps)


def test_the_extent_of_codes_leaves_the_outermost_out() -> None:
    codes = torch.stack([torch.arange(1000.0), torch.arange(1000.0).flip(0) - 500], 1)
    low, high = explore.extent(codes, 0.99)
    assert (low.tolist(), high.tolist()) == ([5.0, -495.0], [994.0, 494.0])
    for wrong in (torch.zeros(0, 2), torch.full((3, 2), torch.nan)):
        with pytest.raises(UsageError, match="extent"):
            explore.extent(wrong)


def test_opposite_and_zero_vectors_fall_back_to_the_line() -> None:
    a = torch.tensor([1.0, 0.0])
    for b in (-a, torch.zeros(2), a):
        torch.testing.assert_close(explore.interpolate(a, b, 4), explore.interpolate(a, b, 4, "linear"))


def test_a_traversal_changes_one_coordinate_at_a_time() -> None:
    model = linear.model(exact=False)
    z, values = torch.tensor([0.3, -0.4]).double(), torch.linspace(-2, 2, 5).double()
    rows = explore.traverse(model, z, [1, 0], values)
    for r, d in enumerate((1, 0)):
        for s, value in enumerate(values):
            point = z.clone()
            point[d] = value
            torch.testing.assert_close(rows[r, s], model.decode(point).detach())


def test_the_manifold_is_spaced_by_the_priors_quantiles() -> None:
    import scipy.stats

    model = linear.model(exact=False).float()
    images, values = explore.manifold(model, side=5, reach=0.9)
    np.testing.assert_allclose(values.numpy(), scipy.stats.norm.ppf([0.1, 0.3, 0.5, 0.7, 0.9]), atol=1e-6)
    corner = model.decode(torch.tensor([float(values[0]), float(values[-1])])).detach()  # left, above
    torch.testing.assert_close(images[0, 0], corner, rtol=1e-5, atol=1e-6)
    assert images.shape == (5, 5, 5)


def test_pca_is_scikit_learns() -> None:
    codes = torch.randn(200, 6, generator=torch.Generator().manual_seed(1)) @ torch.randn(6, 6)
    plane, shares = explore.pca(codes)
    reference = PCA(2).fit(codes.double().numpy())
    np.testing.assert_allclose(shares, reference.explained_variance_ratio_, rtol=1e-6)
    want = reference.transform(codes.double().numpy())
    np.testing.assert_allclose(np.abs(plane.numpy()), np.abs(want), rtol=1e-3, atol=1e-4)


def test_embedding_gives_each_image_its_own_code_and_label() -> None:
    model, x = linear.model(exact=True), linear.data(25)
    labels = torch.arange(25)
    blocks = [(x[:10], labels[:10]), (x[10:], labels[10:])]
    codes, found = explore.embed(model, blocks)
    torch.testing.assert_close(codes, model.encode(x).detach())
    assert found is not None
    assert torch.equal(found, labels)
    assert explore.embed(model, [(x, None)])[1] is None


@pytest.mark.parametrize("scale", [0.05, 0.2])
def test_active_units_are_those_whose_mean_varies(scale: float) -> None:
    codes = torch.randn(5000, 3, generator=torch.Generator().manual_seed(0)) * torch.tensor([1.0, scale, 0.0])
    assert active_units(codes).tolist() == [True, scale**2 > 0.01, False]
