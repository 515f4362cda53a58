"""What images are compared by: the last layer but one of a small classifier that the project trained and ships."""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import resources
from typing import final

import torch
from jaxtyping import Float
from safetensors.torch import load
from torch import Tensor, nn

from lowerbound import files
from lowerbound.errors import DataError, UsageError, nearest

WIDTHS, STRIDES, CLASSES, SHAPE = (24, 32, 48, 64, 64), (1, 2, 1, 2, 1), 10, (1, 28, 28)
# SHA-256 of classifiers/<name>.safetensors: figures compare between machines only where these are the same
SHIPPED = {
    "mnist": "68f303eba18ba02483ad3c2a8207709f1036045e1f773b77d0c75a4f0b097e00",
    "fashion-mnist": "46fa8e7a30caa8fd7f7ac3551b3acf6fbdffa7f64e397475c164113cc75494ff",
}


@final
class Classifier(nn.Module):
    """A classifier of grey images of 28 x 28 pixels in [0, 1], whose last layer but one is the features.

    Five convolutions, each with batch norm and a rectifier; the mean over the places of the last one is the features,
    64 numbers that are not negative, and a linear map makes the ten logits of them.

    Example:
        >>> net = Classifier().eval()
        >>> net.features(torch.rand(3, 1, 28, 28)).shape, net(torch.rand(3, 1, 28, 28)).shape
        (torch.Size([3, 64]), torch.Size([3, 10]))
    """

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for a, b, stride in zip((1, *WIDTHS), WIDTHS, STRIDES, strict=False):
            layers += [nn.Conv2d(a, b, 3, stride, 1, bias=False), nn.BatchNorm2d(b), nn.ReLU()]
        self.body = nn.Sequential(*layers)
        self.head = nn.Linear(WIDTHS[-1], CLASSES)

    def features(self, x: Float[Tensor, "B 1 28 28"]) -> Float[Tensor, "B F"]:
        """Give the 64 features of each image."""
        found: Tensor = self.body(x).mean((2, 3))
        return found

    def forward(self, x: Float[Tensor, "B 1 28 28"]) -> Float[Tensor, "B C"]:
        """Give the logits of the ten classes."""
        logits: Tensor = self.head(self.features(x))
        return logits


@final
@dataclass(frozen=True, eq=False)
class Shipped:
    """A classifier that came with the library: what turns images into features, by what name and of which weights.

    Arguments:
        name: of the data that it was trained on.
        sha256: of its weights.
        net: the classifier, in evaluation mode.
    """

    name: str
    sha256: str
    net: Classifier

    def __call__(self, x: Float[Tensor, "B 1 28 28"]) -> Float[Tensor, "B F"]:
        """Give the features of each image."""
        return self.net.features(x)


def shipped(name: str) -> Shipped:
    """Load the classifier of MNIST or that of Fashion-MNIST; benchmarks/classifier.py is how they were trained.

    Raises UsageError where there is none of this name, DataError where the file is not the one that was shipped.

    Example:
        >>> features = shipped("mnist")
        >>> features(torch.rand(3, 1, 28, 28)).shape
        torch.Size([3, 64])
    """
    if name not in SHIPPED:
        raise UsageError(f"No features came with lowerbound for {name!r}; {nearest(name, list(SHIPPED))}")
    data = resources.files(__package__).joinpath("classifiers", f"{name}.safetensors").read_bytes()
    return Shipped(name, SHIPPED[name], unpack(data, SHIPPED[name]))


def unpack(data: bytes, sha256: str) -> Classifier:
    """Make a classifier of a file's bytes; raises DataError where their SHA-256 is not the one expected."""
    if files.digest(data) != sha256:
        raise DataError(
            f"The weights of the features have the SHA-256 {files.digest(data)}, and {sha256} is expected: the file "
            "was damaged or changed, and its figures would compare with nobody's. Install lowerbound anew."
        )
    net = Classifier()
    net.load_state_dict(net.state_dict() | load(data))  # batch norm's count of its steps, which nothing reads, stays 0
    return net.eval().requires_grad_(False)


def extract(
    features: Callable[[Tensor], Tensor],
    images: Float[Tensor, "N *X"],
    *,
    batch: int = 500,
    progress: Callable[[int, int], None] | None = None,
) -> Float[Tensor, "N F"]:
    """Give the features of each image, some at a time, without gradients, on the processor.

    Raises UsageError where the function does not give numbers (images, features), as many for each image, all finite.

    Arguments:
        features: turns images into features, such as `shipped` gives.
        images: of a shape that it takes.
        batch: how many at a time.
        progress: is told how many are done.

    Example:
        >>> extract(lambda x: x.mean((2, 3)), torch.zeros(5, 3, 8, 8), batch=2).shape
        torch.Size([5, 3])
    """
    found: list[Tensor] = []
    for start in range(0, len(images), batch):
        part = images[start : start + batch]
        with torch.inference_mode():
            given = features(part)
        found.append(_checked(given, len(part), found[0].shape[1] if found else None))
        if progress:
            progress(start + len(part), len(images))
    if not found:
        raise UsageError("There are no images to take features of.")
    return torch.cat(found)


def _checked(given: object, n: int, width: int | None) -> Float[Tensor, "n F"]:
    if not isinstance(given, Tensor) or given.ndim != 2 or len(given) != n or width not in (None, given.shape[1]):
        shape = tuple(given.shape) if isinstance(given, Tensor) else type(given).__name__
        raise UsageError(
            f"Of {n} images the features have the shape {shape}, and ({n}, {width or 'features'}) is needed: a row of "
            "numbers for each image, as many in every call."
        )
    if not given.shape[1] or not bool(given.isfinite().all()):
        bad = int((~given.isfinite()).any(1).sum())
        raise UsageError(f"The features of {bad} of {n} images are not finite, or there are none: nothing compares.")
    return given.detach().cpu()
