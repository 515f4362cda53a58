"""Walks through the latent space: tensors in, tensors out."""

from collections.abc import Iterable, Sequence
from importlib import import_module
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from lowerbound.errors import UsageError
from lowerbound.metrics.search import nearest
from lowerbound.vae import Model, evaluating


def embed(
    model: Model, blocks: Iterable[tuple[Float[Tensor, "..."], Int[Tensor, "..."] | None]]
) -> tuple[Float[Tensor, "N D"], Int[Tensor, " N"] | None]:
    """Give the codes of a split, (N, D), and its labels, (N,), if it has them."""
    codes, labels = [], []
    with evaluating(model), torch.inference_mode():
        for x, y in blocks:
            codes.append(model.encode(x))
            labels.append(y)
    known = [y for y in labels if y is not None]
    return torch.cat(codes), torch.cat(known) if len(known) == len(labels) else None


def traverse(
    model: Model, z: Float[Tensor, "D"], dims: Sequence[int], values: Float[Tensor, "S"]
) -> Float[Tensor, "R S *X"]:
    """Decode z with one coordinate at a time set to each of the values: a row for each of ``dims``.

    Example:
        >>> from lowerbound import likelihood, nets, posterior, prior, vae
        >>> model = vae.VAE(posterior.Gaussian(nets.MLP((3,)), 2), prior.Standard(2),
        ...                 likelihood.Gaussian(nets.MLP((2,), (3,))))
        >>> traverse(model, torch.zeros(2), [0, 1], torch.linspace(-2, 2, 5)).shape
        torch.Size([2, 5, 3])
    """
    rows = z.repeat(len(dims), len(values), 1)
    for r, d in enumerate(dims):
        rows[r, :, d] = values
    return decode(model, rows)


def interpolate(
    a: Float[Tensor, "*B D"], b: Float[Tensor, "*B D"], steps: int, kind: Literal["linear", "spherical"] = "spherical"
) -> Float[Tensor, "*B S D"]:
    r"""Give the points between a and b, ends included, on a line or on an arc.

    .. math:: \text{linear } (1 - t) a + t b, \qquad \text{spherical } \bigl((1 - t) |a| + t |b|\bigr)
        \frac{\sin((1 - t) \theta)\, a / |a| + \sin(t \theta)\, b / |b|}{\sin \theta}, \quad \theta = \angle(a, b)

    Between two draws of a normal prior the line passes through shorter vectors than the prior has; the arc does not. It
    turns the direction and lets the length go from that of a to that of b. The same formula of a and b themselves leads
    many times as far out as either where they point almost opposite ways and differ in length.

    Reference: Animating rotation with quaternion curves (Shoemake, 1985).

    Example:
        >>> interpolate(torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0]), 3)[1]
        tensor([0.7071, 0.7071])
    """
    t = torch.linspace(0, 1, steps, dtype=a.dtype, device=a.device)[:, None]
    a, b = a.unsqueeze(-2), b.unsqueeze(-2)
    line = (1 - t) * a + t * b
    if kind == "linear":
        return line
    long, other = a.norm(dim=-1, keepdim=True), b.norm(dim=-1, keepdim=True)
    u, v = a / long, b / other
    # not by acos, which at the ends of its range knows the half of the digits
    theta = 2 * torch.atan2((u - v).norm(dim=-1, keepdim=True), (u + v).norm(dim=-1, keepdim=True))
    sin = torch.sin(theta)
    arc = ((1 - t) * long + t * other) * (torch.sin((1 - t) * theta) * u + torch.sin(t * theta) * v) / sin
    # where a and b point the same or the opposite way (or one is zero) there is no single arc: take the line
    return torch.where(sin.abs() > 1e-6, arc, line)


def way(
    anchors: Float[Tensor, "A D"], steps: int, kind: Literal["linear", "spherical"] = "spherical"
) -> Float[Tensor, "N D"]:
    r"""Give the points from the first anchor through each to the last: `interpolate` between each and its next.

    .. math:: N = (A - 1) (S - 1) + 1

    Each anchor stands in it once. Raises UsageError where there are fewer than two anchors, or two steps.

    Arguments:
        anchors: the codes, in their order.
        steps: S, the points from one anchor to the next, both included.
        kind: a line or an arc.

    Example:
        >>> way(torch.tensor([[0.0, 0.0], [2.0, 0.0], [2.0, 2.0]]), 3, "linear").tolist()
        [[0.0, 0.0], [1.0, 0.0], [2.0, 0.0], [2.0, 1.0], [2.0, 2.0]]
    """
    if len(anchors) < 2 or steps < 2:
        raise UsageError(f"A way of {len(anchors)} anchors and {steps} steps: it needs two of each at least.")
    legs = interpolate(anchors[:-1], anchors[1:], steps, kind)
    return torch.cat([legs[:, :-1].flatten(0, 1), anchors[-1:]])


def extent(codes: Float[Tensor, "N D"], share: float = 0.998) -> tuple[Float[Tensor, "D"], Float[Tensor, "D"]]:
    """Give the lowest and the highest value of each latent, but for the outermost codes: ``share`` of them lie between.

    Raises UsageError where there is no code, or one is not finite.

    Example:
        >>> extent(torch.arange(100.0)[:, None], share=0.9)
        (tensor([5.]), tensor([94.]))
    """
    if not len(codes) or not bool(codes.isfinite().all()):
        raise UsageError(
            "Some codes are not numbers, and have no extent: the model gives NaN, or was given it."
            if len(codes)
            else "There are no codes to have an extent."
        )
    ordered = codes.sort(dim=0).values
    cut = round(len(codes) * (1 - share) / 2)
    return ordered[cut], ordered[-1 - cut]


def manifold(model: Model, side: int = 20, reach: float = 0.99) -> tuple[Float[Tensor, "S S *X"], Float[Tensor, "S"]]:
    """Decode a grid over two latents, spaced by the normal's quantiles so that each cell has the same probability.

    Reference: Auto-encoding variational Bayes (Kingma and Welling, 2014), figure 4.
    """
    probabilities = torch.linspace(1 - reach, reach, side, dtype=torch.float64)
    values = torch.special.ndtri(probabilities).float()
    z = torch.stack(torch.meshgrid(-values, values, indexing="ij")[::-1], dim=-1)  # z2 grows upwards
    return decode(model, z), values


def decode(model: Model, z: Float[Tensor, "*B D"], batch: int = 500, seed: int | None = None) -> Float[Tensor, "*rest"]:
    """Decode latents with any leading axes, ``batch`` at a time, without gradients.

    Gives the mean of p(x|z), or where there is a ``seed`` a draw of it: the i-th depends on its z, the seed and i only.
    """
    flat = z.reshape(-1, z.shape[-1]).to(next(model.parameters()).device)
    with evaluating(model), torch.inference_mode():
        if seed is None:
            images = torch.cat([model.decode(part) for part in flat.split(batch)])
        else:
            images = model.draw(flat, seed=seed)
    return images.reshape(*z.shape[:-1], *images.shape[1:])


def pca(codes: Float[Tensor, "N D"]) -> tuple[Float[Tensor, "N 2"], list[float]]:
    """Project codes onto their two principal components; also gives the share of the variance each holds.

    Where there are fewer than two (one code, or one latent), the rest is 0. Raises UsageError where a code is not
    finite.

    Example:
        >>> plane, shares = pca(torch.tensor([[1.0, 0, 0], [-1.0, 0, 0], [0, 0.5, 0]]))
        >>> plane.shape, shares[0] > shares[1]
        (torch.Size([3, 2]), True)
    """
    mean, v, shares = principal(codes)
    plane = torch.nn.functional.pad((codes.double() - mean) @ v[:2].T, (0, max(0, 2 - len(v))))
    return plane.to(codes.dtype), [*(float(share) for share in shares[:2]), 0.0, 0.0][:2]


def principal(
    codes: Float[Tensor, "N D"],
) -> tuple[Float[Tensor, "D"], Float[Tensor, "R D"], Float[Tensor, "R"]]:
    """Give the mean of codes, their principal directions as rows, and the share of the variance along each.

    In float64, the largest share first. Raises UsageError where a code is not finite.

    Example:
        >>> mean, directions, shares = principal(torch.tensor([[1.0, 2.0], [1.0, 4.0]]))
        >>> mean.tolist(), directions[0].round(decimals=6).tolist(), shares[0].item()
        ([1.0, 3.0], [0.0, 1.0], 1.0)
    """
    if not bool(codes.isfinite().all()):
        raise UsageError(
            "Some codes are not numbers, and have no place in a plane: the model gives NaN, or was given it."
        )
    mean = codes.double().mean(0)
    _, s, v = torch.linalg.svd(codes.double() - mean, full_matrices=False)
    v = v * v.gather(1, v.abs().argmax(1, keepdim=True)).sign()  # a direction's sign is free: fix it
    return mean, v, s.square() / s.square().sum().clamp_min(torch.finfo(s.dtype).tiny)


def umap(codes: Float[Tensor, "N D"], seed: int = 0) -> Float[Tensor, "N 2"]:
    """Lay codes out in a plane by UMAP, which keeps neighbours together; distances between groups say nothing.

    Raises UsageError where the extra umap is not installed, or there are too few codes to have neighbours.

    Reference: UMAP: uniform manifold approximation and projection (McInnes, Healy and Melville, 2018).
    """
    if len(codes) < 4:
        raise UsageError(f"UMAP lays out neighbours, and {len(codes)} codes are too few: take pca.")
    try:
        library = import_module("umap")  # without type stubs
    except ImportError:
        raise UsageError(
            "UMAP is not installed: pip install 'lowerbound[umap]', or take pca, which needs nothing else."
        ) from None
    neighbours = min(15, len(codes) - 1)
    found = library.UMAP(n_neighbors=neighbours, random_state=seed, n_jobs=1).fit_transform(codes.cpu().numpy())
    return torch.from_numpy(found).to(codes)


def neighbours(
    query: Float[Tensor, "Q *X"], codes: Float[Tensor, "N ..."] | Iterable[Float[Tensor, "_ ..."]], k: int
) -> tuple[Float[Tensor, "Q K"], Int[Tensor, "Q K"]]:
    r"""Find the k nearest of some codes to each query: their distances, the smallest first, and their rows.

    .. math:: d(a, b) = \sqrt{\textstyle\sum_i (a_i - b_i)^2}

    It takes images as well, whose pixels are compared. Codes may come in blocks, and of a tensor a block is compared at
    a time: distances to all are never held. Of codes that are equally far the first come first. There are fewer than k
    columns where there are fewer codes. Raises UsageError where k is below 1, nothing is there, shapes differ, or a
    distance is not a number.

    Example:
        >>> far, rows = neighbours(torch.tensor([[0.0, 0.0]]), torch.tensor([[3.0, 4.0], [0.0, 1.0], [9.0, 9.0]]), 2)
        >>> far.tolist(), rows.tolist()
        ([[1.0, 5.0]], [[1, 0]])
    """
    return nearest(query, codes, k)
