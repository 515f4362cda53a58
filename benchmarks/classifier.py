"""Train the classifiers whose last layer but one is the features that samples are measured by.

    OMP_NUM_THREADS=1 python benchmarks/classifier.py      # about twelve minutes on one core

One for MNIST and one for Fashion-MNIST, each written to src/lowerbound/metrics/classifiers/<name>.safetensors; the
SHA-256 of each file, which this prints, belongs into `lowerbound.metrics.features.SHIPPED`. Half of the images of a
batch stay grey, three in ten are drawn as bits and two in ten cut at 0.5, after a small shift, turn and change of
size: the features shall serve binarised data too. One setting was tried, and looked at on the validation split of
5,000 images; the test split is read once, at the end, by the last weights.
"""

import argparse
import math
import time
from pathlib import Path
from typing import Any

import torch
from common import HERE, save
from safetensors.torch import save as pack
from torch import Tensor
from torch.nn import functional as F

from lowerbound import files, rng
from lowerbound.data import SOURCES, Source
from lowerbound.data.source import Split
from lowerbound.metrics.features import Classifier

WEIGHTS = HERE.parent / "src" / "lowerbound" / "metrics" / "classifiers"
SEED, BATCH, RATE, DECAY, WARMUP = 0, 128, 0.004, 0.02, 0.1
# the largest turn in degrees; clothes stand upright, digits lean
TURN = {"mnist": 12.0, "fashion-mnist": 4.0}
KINDS = ("grey", "drawn", "threshold")


def warp(x: Tensor, degrees: float) -> Tensor:
    """Turn each image by up to so many degrees, scale it by up to a tenth and shift it by up to two pixels."""
    turn, size, shift = torch.rand(3, len(x), 2).mul(2).sub(1)
    angle, scale = turn[:, 0] * math.radians(degrees), 1 + 0.1 * size[:, 0]
    cos, sin = scale * angle.cos(), scale * angle.sin()
    rows = [torch.stack(row, 1) for row in ((cos, -sin, shift[:, 0] / 7), (sin, cos, shift[:, 1] / 7))]
    where = F.affine_grid(torch.stack(rows, 1), list(x.shape), align_corners=False)
    return F.grid_sample(x, where, align_corners=False).clamp(0, 1)


def binarised(x: Tensor, kind: str) -> Tensor:
    """Give the images as they are, drawn as bits or cut at one half."""
    return x if kind == "grey" else (torch.rand_like(x) < x).float() if kind == "drawn" else (x >= 0.5).float()


def mixed(x: Tensor) -> Tensor:
    """Leave half of the images grey; of the others three are drawn where two are cut."""
    u = torch.rand(len(x), 1, 1, 1)
    return torch.where(u < 0.5, x, torch.where(u < 0.8, binarised(x, "drawn"), binarised(x, "threshold")))


def accuracy(net: Classifier, part: Split) -> dict[str, float]:
    """Give the share that is classified rightly, of grey images and of binarised ones."""
    net.eval()
    found, labels = {}, part.targets()
    assert labels is not None
    for kind in KINDS:
        with torch.inference_mode(), rng.noise(SEED, "accuracy"):
            parts = [net(binarised(x, kind)).argmax(1) for x in part.images().split(500)]
        found[kind] = float((torch.cat(parts) == labels).double().mean())
    return found


def train(source: Source, epochs: int, degrees: float) -> tuple[Classifier, list[dict[str, float]]]:
    """Train on the training split; gives the last weights, and the accuracy on the validation split by epoch."""
    with rng.noise(SEED, "weights"):
        net = Classifier().to(memory_format=torch.channels_last)
    an_epoch = len(source.train) // BATCH
    adam = torch.optim.AdamW(net.parameters(), RATE, weight_decay=DECAY)
    curve = torch.optim.lr_scheduler.OneCycleLR(adam, RATE, total_steps=epochs * an_epoch, pct_start=WARMUP)
    history = []
    for step in range(epochs * an_epoch):
        net.train()
        x, y = source.batch(step * BATCH, BATCH, seed=SEED)
        with rng.noise(SEED, "step", step):
            x = mixed(warp(x, degrees))
        with torch.autocast("cpu", torch.bfloat16):
            logits = net(x.contiguous(memory_format=torch.channels_last))
        loss = F.cross_entropy(logits.float(), y)
        adam.zero_grad()
        loss.backward()
        adam.step()
        curve.step()
        if (step + 1) % an_epoch == 0:
            history.append(accuracy(net, source.validation))
            print((step + 1) // an_epoch, float(loss.detach()), history[-1], flush=True)
    return net, history


def trained(name: str, epochs: int, folder: Path) -> dict[str, Any]:
    """Train one, write its weights and say how good it is."""
    source, begun = SOURCES[name](), time.time()
    net, history = train(source, epochs, TURN[name])
    seconds = time.time() - begun
    data = pack({k: v.contiguous() for k, v in net.state_dict().items() if v.is_floating_point()})
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.safetensors").write_bytes(data)
    return {
        "sha256": files.digest(data),
        "bytes": len(data),
        "parameters": sum(p.numel() for p in net.parameters()),
        "validation": history[-1],
        "test": accuracy(net, source.test),
        "epochs": epochs,
        "seconds": round(seconds),
        "history": history,
    }


def main() -> None:
    """Train both."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=15)
    parser.add_argument("--weights", type=Path, default=WEIGHTS, help="the folder that the weights are written to")
    options = parser.parse_args()
    found = {name: trained(name, options.epochs, options.weights) for name in TURN}
    chosen = {"batch": BATCH, "learning rate": RATE, "weight decay": DECAY, "warm-up": WARMUP, "turn": TURN}
    save("classifier", {"seeds": [SEED], **chosen, **found})


if __name__ == "__main__":
    main()
