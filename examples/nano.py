"""The lecture's β-VAE on MNIST in plain PyTorch, top to bottom, without the library.

    lowerbound train              # once: it also fetches MNIST into the cache
    python examples/nano.py       # then four epochs; saves nano-curves.png and nano-digits.png

A test gives this model and the library's the same weights, and finds the same elbo, distortion and rate.
"""

import argparse
import os
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn


class BetaVAE(nn.Module):
    def __init__(self, latents: int = 16) -> None:
        super().__init__()
        self.encoder = nn.Sequential(  # x: 1 x 28 x 28 pixels
            nn.Conv2d(1, 32, kernel_size=4, stride=2, padding=1), nn.ReLU(),  # 32 x 14 x 14
            nn.Conv2d(32, 64, kernel_size=4, stride=2, padding=1), nn.ReLU(),  # 64 x 7 x 7
            nn.Flatten(),  # 3136
        )  # fmt: skip
        self.mu = nn.Linear(64 * 7 * 7, latents)
        self.logvar = nn.Linear(64 * 7 * 7, latents)
        self.decoder = nn.Sequential(  # the encoder's mirror
            nn.Linear(latents, 64 * 7 * 7), nn.Unflatten(1, (64, 7, 7)), nn.ReLU(),
            nn.ConvTranspose2d(64, 32, kernel_size=4, stride=2, padding=1), nn.ReLU(),
            nn.ConvTranspose2d(32, 1, kernel_size=4, stride=2, padding=1),
        )  # fmt: skip

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:  # q(z|x) = N(mu, sigma²)
        h = self.encoder(x)
        return self.mu(h), self.logvar(h)

    def reparameterize(self, mu: Tensor, logvar: Tensor) -> Tensor:  # z = mu + sigma * eps
        sigma = torch.exp(0.5 * logvar)
        eps = torch.randn_like(sigma)
        return mu + sigma * eps

    def decode(self, z: Tensor) -> Tensor:  # the mean of p(x|z): for each pixel the probability of ink
        return torch.sigmoid(self.decoder(z))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        mu, logvar = self.encode(x)
        z = self.reparameterize(mu, logvar)
        return self.decoder(z), mu, logvar  # logits; their sigmoid is decode(z)


# Cross-entropy of logits, not of probabilities: in float32 sigmoid(17) is already 1, so that log(1 - sigmoid) is lost
# there, and its gradient with it. From the logit both are exact: l - l x + log(1 + exp(-l)), with gradient sigmoid - x.
def recon_loss(logits: Tensor, x: Tensor) -> Tensor:  # -log p(x|z): summed over the pixels, averaged over the batch
    return F.binary_cross_entropy_with_logits(logits, x, reduction="sum") / len(x)


def kl_div(mu: Tensor, logvar: Tensor) -> Tensor:  # KL(q(z|x) || N(0, I)) in closed form
    return -0.5 * (1 + logvar - mu**2 - logvar.exp()).sum() / len(mu)


def read_images(file: Path) -> Tensor:  # an IDX file: a header of 16 bytes, then one byte a pixel
    if not file.exists():
        raise SystemExit(f"{file} is missing: `lowerbound train` fetches MNIST, or say --data FOLDER.")
    return torch.from_numpy(np.fromfile(file, dtype=np.uint8, offset=16).reshape(-1, 1, 28, 28))


def train(model: BetaVAE, images: Tensor, epochs: int, beta: float) -> list[tuple[float, float]]:
    optimizer = torch.optim.Adam(model.parameters(), lr=4e-3, betas=(0.9, 0.99))
    history = []
    model.train()
    for epoch in range(1, epochs + 1):
        batches = torch.randperm(len(images)).split(64)
        for index in batches:
            x = images[index].float() / 255
            logits, mu, logvar = model(x)
            recon, kl = recon_loss(logits, x), kl_div(mu, logvar)
            loss = recon + beta * kl
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            history.append((recon.item(), kl.item()))
        distortion, rate = np.mean(history[-len(batches) :], axis=0)
        print(f"epoch {epoch}: distortion {distortion:.1f}, rate {rate:.1f}, elbo {-(distortion + rate):.1f} nats")
    return history


def save_pictures(model: BetaVAE, history: list[tuple[float, float]], out: Path) -> None:
    figure, axes = plt.subplots(1, 2, figsize=(9, 3), layout="constrained")
    for axis, curve, title in zip(axes, zip(*history, strict=True), ("reconstruction loss", "KL"), strict=True):
        axis.plot(curve, linewidth=0.5)
        axis.set(title=title, xlabel="step", ylabel="nats per image")
    figure.savefig(out / "nano-curves.png", dpi=150)
    model.eval()
    with torch.no_grad():
        z = torch.randn(64, model.mu.out_features)  # from the prior N(0, I); the encoder is not asked
        samples = model.decode(z)
    grid = samples.reshape(8, 8, 28, 28).permute(0, 2, 1, 3).reshape(8 * 28, 8 * 28)
    plt.imsave(out / "nano-digits.png", grid.numpy(), cmap="gray", vmin=0, vmax=1)


def main(arguments: list[str] | None = None) -> None:
    xdg = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    cache = Path(os.environ.get("LOWERBOUND_CACHE") or Path(xdg, "lowerbound"))
    parser = argparse.ArgumentParser(description="A β-VAE on MNIST, in plain PyTorch.")
    parser.add_argument("--beta", type=float, default=1.0, help="weight of the KL term (1)")
    parser.add_argument("--epochs", type=int, default=4, help="passes over the training images (4)")
    parser.add_argument("--data", type=Path, default=cache / "mnist", help="folder of train-images-idx3-ubyte")
    parser.add_argument("--out", type=Path, default=Path(), help="folder of the pictures (here)")
    options = parser.parse_args(arguments)
    torch.manual_seed(0)
    model = BetaVAE()
    images = read_images(options.data / "train-images-idx3-ubyte")
    save_pictures(model, train(model, images, options.epochs, options.beta), options.out)


if __name__ == "__main__":
    main()
