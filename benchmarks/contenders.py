"""Who is measured: lowerbound, Pythae's trainer, a plain PyTorch loop, and the bare step; each in its own process.

    python benchmarks/contenders.py NAME '{"net": "conv", …}'    # started by the benchmarks; a round for each line read

The lecture's convolutional network (28 x 28, channels 32-64, kernels 4, stride 2, 16 latents) and the 784-400-20 MLP
are written once, in plain PyTorch, and given to every peer. lowerbound builds its own of the same shapes.
"""

import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from typing import Any

LATENTS = {"conv": 16, "mlp": 20}
MLP = ["latents=20", "model.posterior.net.kind=mlp", "model.likelihood.net.kind=mlp"]  # 400 wide by default
Round = Callable[[], dict[str, Any]]


def networks(net: str) -> tuple[Any, Any]:
    """Encoder (to the hidden layer) and decoder (to logits) in plain PyTorch."""
    from torch import nn

    if net == "mlp":
        encoder = nn.Sequential(nn.Flatten(), nn.Linear(784, 400), nn.ReLU())
        decoder = nn.Sequential(nn.Linear(20, 400), nn.ReLU(), nn.Linear(400, 784), nn.Unflatten(1, (1, 28, 28)))
        return encoder, decoder
    encoder = nn.Sequential(
        nn.Conv2d(1, 32, 4, stride=2, padding=1), nn.ReLU(), nn.Conv2d(32, 64, 4, stride=2, padding=1), nn.ReLU(),
        nn.Flatten(),
    )  # fmt: skip
    decoder = nn.Sequential(
        nn.Linear(16, 3136), nn.Unflatten(1, (64, 7, 7)), nn.ReLU(),
        nn.ConvTranspose2d(64, 32, 4, stride=2, padding=1), nn.ReLU(),
        nn.ConvTranspose2d(32, 1, 4, stride=2, padding=1),
    )  # fmt: skip
    return encoder, decoder


def plain_vae(net: str) -> Any:
    """A VAE as one writes it by hand; the decoder ends in a sigmoid, as in PyTorch's example."""
    import torch
    from torch import nn

    class Plain(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.encoder, self.decoder = networks(net)
            features = 400 if net == "mlp" else 3136
            self.mu, self.logvar = nn.Linear(features, LATENTS[net]), nn.Linear(features, LATENTS[net])

        def logits(self, x: Any) -> tuple[Any, Any, Any]:
            h = self.encoder(x)
            mu, logvar = self.mu(h), self.logvar(h)
            z = mu + torch.exp(0.5 * logvar) * torch.randn_like(mu)
            return self.decoder(z), mu, logvar

        def forward(self, x: Any) -> tuple[Any, Any, Any]:
            logits, mu, logvar = self.logits(x)
            return torch.sigmoid(logits), mu, logvar

    return Plain()


def source(images: int | None = None) -> Any:
    """MNIST with all 60,000 images to train on, or the first so many."""
    from dataclasses import replace

    from lowerbound.begin import open_data

    _, found = open_data("mnist", validation=0)
    return found if images is None else replace(found, train=replace(found.train, rows=found.train.rows[:images]))


def timed(work: Callable[[], object]) -> float:
    """Give the seconds that a piece of work takes."""
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


# ---- lowerbound


def job(net: str, batch: int, precision: str, assignments: list[str], data: Any, seed: int = 0) -> Any:
    """Make lowerbound's training of a network, as its command line does, without a run's directory."""
    from lowerbound import begin

    sets = [*(MLP if net == "mlp" else []), f"train.batch={batch}", f"train.precision={precision}", *assignments]
    spec, _ = begin.plan_spec({"kind": "mnist", "validation": 0}, data, seed=seed, assignments=sets)
    return begin.plan_job(spec, data, "cpu")


def lowerbound(net: str, batch: int, steps: int, precision: str = "auto", deterministic: bool = False) -> Round:
    """Train with lowerbound: its loop over its data."""
    from lowerbound.process import tune
    from lowerbound.train import train

    tune(deterministic=deterministic)
    task = job(net, batch, precision, ["train.schedule=constant", "train.epochs=1000"], source())

    def go() -> None:
        for _ in train(task.state, task.source, steps=task.state.step + steps, batch=batch, seed=0):
            pass

    return lambda: {"images/s": batch * steps / timed(go), "bfloat16": task.state.bfloat16}


def bare(net: str, batch: int, steps: int, precision: str = "auto") -> Round:
    """Forward, backward and Adam on a ready tensor in plain PyTorch, under lowerbound's process settings."""
    import torch
    import torch.nn.functional as F
    from torch import nn

    from lowerbound import process

    process.tune()
    if precision == "auto":
        precision = process.precision(torch.device("cpu"))
    model = plain_vae(net)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.001, fused=True)
    x, _ = source().batch(0, batch, seed=0)
    if net == "conv":
        x = x.contiguous(memory_format=torch.channels_last)
        for module in model.modules():
            if isinstance(module, nn.Unflatten):
                module.register_forward_hook(lambda m, i, y: y.contiguous(memory_format=torch.channels_last))

    def go() -> None:
        for _ in range(steps):
            optimizer.zero_grad()
            with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
                logits, mu, logvar = model.logits(x)
            logits, mu, logvar = logits.float(), mu.float(), logvar.float()
            kl = -0.5 * (1 + logvar - mu**2 - logvar.exp()).sum()
            loss = (F.binary_cross_entropy_with_logits(logits, x, reduction="sum") + kl) / batch
            loss.backward()
            optimizer.step()

    return lambda: {"images/s": batch * steps / timed(go), "bfloat16": precision == "bfloat16"}


# ---- a plain PyTorch loop


def loader(images: int | None, batch: int) -> Any:
    """A DataLoader over pictures that become tensors one by one, as torchvision's MNIST and ToTensor do."""
    import numpy as np
    import torch
    from PIL import Image
    from torch.utils.data import DataLoader, Dataset

    data = source(images).train
    pixels, labels = data.x[data.rows][:, 0], data.labels[data.rows]

    class Pictures(Dataset[tuple[Any, int]]):
        def __len__(self) -> int:
            return len(pixels)

        def __getitem__(self, i: int) -> tuple[Any, int]:
            picture = Image.fromarray(pixels[i].numpy(), mode=None)
            tensor = torch.from_numpy(np.array(picture, np.uint8, copy=True)).view(28, 28, 1)
            return tensor.permute(2, 0, 1).contiguous().to(torch.get_default_dtype()).div(255), int(labels[i])

    return DataLoader(Pictures(), batch_size=batch, shuffle=True)


def plain_epoch(model: Any, optimizer: Any, batches: Any) -> None:
    """One epoch as PyTorch's VAE example trains: cross-entropy on probabilities, and the loss read at each step."""
    import torch
    import torch.nn.functional as F

    model.train()
    total = 0.0
    for x, _ in batches:
        optimizer.zero_grad()
        y, mu, logvar = model(x)
        cross_entropy = F.binary_cross_entropy(y.flatten(1), x.flatten(1), reduction="sum")
        loss = cross_entropy - 0.5 * torch.sum(1 + logvar - mu.pow(2) - logvar.exp())
        loss.backward()
        total += loss.item()
        optimizer.step()


def plain(net: str, batch: int, steps: int) -> Round:
    """Train with a plain PyTorch loop and a DataLoader, nothing set in the process."""
    import torch

    model = plain_vae(net)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.001)
    batches = loader(batch * steps, batch)
    return lambda: {"images/s": batch * steps / timed(lambda: plain_epoch(model, optimizer, batches))}


# ---- Pythae


def pythae_model(net: str) -> Any:
    """Pythae's VAE with the same networks."""
    from pythae.models import VAE, VAEConfig
    from pythae.models.base.base_utils import ModelOutput
    from pythae.models.nn import BaseDecoder, BaseEncoder

    parts = plain_vae(net)

    class Encoder(BaseEncoder):
        def __init__(self) -> None:
            BaseEncoder.__init__(self)
            self.net, self.mu, self.logvar = parts.encoder, parts.mu, parts.logvar

        def forward(self, x: Any) -> Any:
            h = self.net(x)
            return ModelOutput(embedding=self.mu(h), log_covariance=self.logvar(h))

    class Decoder(BaseDecoder):
        def __init__(self) -> None:
            BaseDecoder.__init__(self)
            self.net = parts.decoder

        def forward(self, z: Any) -> Any:
            return ModelOutput(reconstruction=self.net(z).sigmoid())

    config = VAEConfig(input_dim=(1, 28, 28), latent_dim=LATENTS[net], reconstruction_loss="bce")
    return VAE(config, encoder=Encoder(), decoder=Decoder()), parts


def pythae_trainer(net: str, batch: int, epochs: int, images: int | None, folder: str, seed: int, lr: float) -> Any:
    """Pythae's trainer over the same images, ready to train, and the networks that it trains."""
    import torch
    from pythae.data.datasets import BaseDataset
    from pythae.trainers import BaseTrainer, BaseTrainerConfig

    torch.manual_seed(seed)
    model, parts = pythae_model(net)
    data = source(images).train
    dataset = BaseDataset(data.images(), data.labels[data.rows])
    config = BaseTrainerConfig(
        output_dir=folder, num_epochs=epochs, learning_rate=lr, per_device_train_batch_size=batch, seed=seed,
        optimizer_cls="Adam", no_cuda=True, keep_best_on_train=True,
    )  # fmt: skip
    return BaseTrainer(model, train_dataset=dataset, training_config=config), parts


def pythae(net: str, batch: int, steps: int) -> Round:
    """Train with Pythae's trainer: one epoch of so many steps."""
    folder = tempfile.mkdtemp()
    trainer, _ = pythae_trainer(net, batch, 1, batch * steps, folder, 0, 0.001)
    trainer.prepare_training()
    return lambda: {"images/s": batch * steps / timed(lambda: trainer.train_step(1))}


# ---- time to quality


def judged(model: Any, data: Any) -> float:
    """Give a lowerbound model's -elbo on the test images, under fixed noise, in float32."""
    from lowerbound import metrics
    from lowerbound.objective import Elbo

    return -float(metrics.evaluate(model, Elbo(), data.blocks("test"), step=0)["elbo"])


def quality(net: str, sets: list[str], seed: int) -> Round:
    """Train a recipe with lowerbound, from the first step to the last, and judge it."""
    from lowerbound.process import tune
    from lowerbound.train import train

    tune()
    data = source()
    task = job(net, 128, "auto", sets, data, seed)

    def go() -> None:
        for _ in train(task.state, data, steps=task.total, batch=task.plan.batch, seed=seed):
            pass

    return lambda: {"seconds": timed(go), "-elbo": judged(task.judged, data)}


def peer_quality(net: str, peer: str, epochs: int, seed: int) -> Round:
    """Train a peer as it comes, from the first step to the last, and judge its weights by lowerbound's evaluation."""
    import torch

    torch.manual_seed(seed)
    data = source()
    if peer == "pythae":
        trainer, parts = pythae_trainer(net, 128, epochs, None, tempfile.mkdtemp(), seed, 0.001)
        go: Callable[[], object] = trainer.train
    else:
        parts = plain_vae(net)
        optimizer = torch.optim.Adam(parts.parameters(), lr=0.001)
        batches = loader(None, 128)

        def go() -> None:
            for _ in range(epochs):
                plain_epoch(parts, optimizer, batches)

    def round_() -> dict[str, Any]:
        seconds = timed(go)
        return {"seconds": seconds, "-elbo": judged(from_parts(net, parts), data)}

    return round_


# ---- log p(x)


def pairs(ours: Any, parts: Any) -> Iterator[tuple[Any, Any]]:
    """Give the parameters of lowerbound's model beside those of the same networks in plain PyTorch."""
    q, p = ours.posterior, ours.likelihood
    same = [(q.net, parts.encoder), (q.mu, parts.mu), (q.logvar, parts.logvar), (p.net, parts.decoder)]
    for mine, others in same:
        yield from zip(mine.parameters(), others.parameters(), strict=True)


def empty(net: str) -> Any:
    """Make lowerbound's model of a network."""
    from lowerbound import VAE, likelihood, nets, posterior, prior

    if net == "mlp":
        encoder, decoder = nets.MLP((1, 28, 28), hidden=(400,)), nets.MLP((20,), (1, 28, 28), hidden=(400,))
    else:
        encoder, decoder = nets.ConvEncoder((1, 28, 28)), nets.ConvDecoder(16, (1, 28, 28))
    k = LATENTS[net]
    return VAE(posterior.Gaussian(encoder, k), prior.Standard(k), likelihood.Bernoulli(decoder))


def from_parts(net: str, parts: Any) -> Any:
    """Give lowerbound's model with the weights of the same networks in plain PyTorch."""
    import torch

    model = empty(net)
    with torch.no_grad():
        for a, b in pairs(model, parts):
            a.copy_(b)
    return model


def trained(net: str) -> tuple[Any, Any, Any]:
    """Give one model, after one epoch of lowerbound's training, as lowerbound's and as Pythae's, and binary images."""
    import torch

    from lowerbound.train import train

    theirs, parts = pythae_model(net)
    task = job(net, 128, "float32", ["train.epochs=1", "train.lr=0.002"], source())
    for _ in train(task.state, task.source, steps=task.total, batch=128):
        pass
    ours = task.state.model
    with torch.no_grad():
        for a, b in pairs(ours, parts):
            b.copy_(a)
    x = (source().test.images(0, 1000) >= 0.5).float()
    return ours.eval(), theirs.eval(), x


def importance(net: str, samples: int, images: int, precision: str) -> Round:
    """log p(x) by lowerbound."""
    from lowerbound.metrics import log_likelihood
    from lowerbound.process import tune

    tune()
    model, _, x = trained(net)
    found: list[Any] = []

    def go() -> None:
        found[:] = [log_likelihood(model, x[:images], samples=samples, bfloat16=precision == "bfloat16")]

    return lambda: {"s/image": timed(go) / images, "log p(x)": float(found[0].mean()), "each": found[0].tolist()}


def pythae_importance(net: str, samples: int, images: int) -> Round:
    """log p(x) by Pythae's get_nll (which gives the log-likelihood, not its negative), in its own process settings."""
    import torch

    _, model, x = trained(net)
    found: list[float] = []

    def go() -> None:
        with torch.no_grad():
            found[:] = [float(model.get_nll(image[None], n_samples=samples, batch_size=500)) for image in x[:images]]

    return lambda: {"s/image": timed(go) / images, "log p(x)": sum(found) / len(found), "each": list(found)}


def main() -> None:
    """Make the contender that is asked for, and run a round for each line on standard input."""
    name, arguments = sys.argv[1], json.loads(sys.argv[2])
    if name in ("lowerbound", "bare", "importance", "quality"):
        from lowerbound.omp import wait_briefly

        wait_briefly()  # as lowerbound's command line does, before torch is loaded
    round_: Round = globals()[name](**arguments)
    answers: Iterator[dict[str, Any]] = (round_() for _ in sys.stdin)
    print("RESULT {}", flush=True)
    for answer in answers:
        print(f"RESULT {json.dumps(answer)}", flush=True)


if __name__ == "__main__":
    main()
