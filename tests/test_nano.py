"""examples/nano.py is the lecture without the library: the same weights give the same numbers in both."""

import importlib.util
import re
import struct
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from lowerbound import likelihood, nets, posterior, prior
from lowerbound.objective import KL, Distortion, Elbo
from lowerbound.vae import VAE

FILE = Path(__file__).parents[1] / "examples" / "nano.py"
# which of the library's modules holds what the lecture calls …
SAME = {
    "encoder.": "posterior.net.layers.",
    "mu.": "posterior.mu.",
    "logvar.": "posterior.logvar.",
    "decoder.0.": "likelihood.net.linear.",
    "decoder.3.": "likelihood.net.layers.1.",
    "decoder.5.": "likelihood.net.layers.3.",
}


@pytest.fixture(scope="module")
def nano() -> ModuleType:
    spec = importlib.util.spec_from_file_location("nano", FILE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def pair(nano: ModuleType) -> tuple[nn.Module, VAE]:
    """The lecture's model and the library's, with the same weights, in float64."""
    torch.manual_seed(0)
    lecture = nano.BetaVAE(latents=16).double()
    # larger heads: as initialised, q is the same for every image, and a wrong wiring would hardly show
    with torch.no_grad():
        lecture.mu.weight.mul_(10)
        lecture.logvar.weight.mul_(10)
    model = VAE(
        posterior.Gaussian(nets.ConvEncoder((1, 28, 28)), 16),
        prior.Standard(16),
        likelihood.Bernoulli(nets.ConvDecoder(16, (1, 28, 28))),
    ).double()
    weights = {renamed(name): value for name, value in lecture.state_dict().items()}
    model.load_state_dict(weights, strict=True)
    return lecture, model


def renamed(name: str) -> str:
    ours, theirs = next((ours, theirs) for ours, theirs in SAME.items() if name.startswith(ours))
    return theirs + name.removeprefix(ours)


def images(n: int = 7) -> Tensor:
    torch.manual_seed(1)
    return torch.rand(n, 1, 28, 28, dtype=torch.float64)


def close(a: Tensor, b: Tensor) -> None:
    torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-10)


def test_it_is_at_most_120_lines_and_does_without_the_library() -> None:
    text = FILE.read_text()
    assert len(text.splitlines()) <= 120
    assert not re.search(r"^\s*(from|import) lowerbound", text, re.MULTILINE)


@pytest.mark.parametrize("beta", [0.0, 1.0, 20.0])
def test_elbo_distortion_rate_and_every_gradient_are_the_librarys(
    nano: ModuleType, pair: tuple[nn.Module, VAE], beta: float
) -> None:
    lecture, model = pair
    x = images()

    torch.manual_seed(2)
    logits, mu, logvar = lecture(x)
    recon_loss, kl_div = nano.recon_loss(logits, x), nano.kl_div(mu, logvar)
    (recon_loss + beta * kl_div).backward()

    torch.manual_seed(2)
    loss = Elbo({"distortion": Distortion(), "kl": KL(beta)})(model, x)
    loss.losses["model"].backward()

    assert kl_div.detach() > 0.5  # else there is nothing to compare
    close(recon_loss.detach(), loss.terms["distortion"])
    close(kl_div.detach(), loss.terms["rate"])
    close(-(recon_loss + kl_div).detach(), loss.terms["elbo"])
    close((recon_loss + beta * kl_div).detach(), loss.terms["loss"])
    theirs = dict(model.named_parameters())
    assert len(theirs) == len(list(lecture.parameters())) == 14
    for name, p in lecture.named_parameters():
        assert p.grad is not None
        assert p.grad.abs().sum() > 0, name
        close(p.grad, theirs[renamed(name)].grad)


def test_the_verbs_give_what_the_librarys_give(pair: tuple[nn.Module, VAE]) -> None:
    lecture, model = pair
    x = images()
    mu, logvar = lecture.encode(x)
    close(mu, model.encode(x))
    close(torch.cat([mu, logvar], dim=-1), model.posterior.params(x))

    torch.manual_seed(3)
    z = lecture.reparameterize(mu, logvar)
    torch.manual_seed(3)
    close(z, model.posterior(x).rsample())

    lecture.eval()
    samples = lecture.decode(z)
    close(samples, model.decode(z))
    assert samples.min() >= 0
    assert samples.max() <= 1
    torch.manual_seed(3)
    close(torch.sigmoid(lecture(x)[0]), samples)


def test_reparameterize_has_the_standard_deviation_that_logvar_says(pair: tuple[nn.Module, VAE]) -> None:
    lecture, _ = pair
    torch.manual_seed(4)
    mu, logvar = torch.tensor([3.0, -1.0]), torch.tensor([4.0, -2.0]).log()[:1].repeat(2)  # σ² = 4, σ = 2
    z = lecture.reparameterize(mu.expand(40_000, 2), logvar.expand(40_000, 2))
    error = 2 / 40_000**0.5
    assert ((z.mean(0) - mu).abs() < 5 * error).all()
    assert ((z.std(0) - 2).abs() < 5 * error).all()


def test_the_loss_keeps_its_gradient_where_a_probability_is_already_one(nano: ModuleType) -> None:
    logits = torch.full((1, 1, 28, 28), 200.0, requires_grad=True)
    loss = nano.recon_loss(logits, torch.zeros(1, 1, 28, 28))
    loss.backward()
    assert loss.item() == 200.0 * 784
    assert logits.grad is not None
    assert (logits.grad == 1).all()


def test_it_trains_from_an_idx_file_and_saves_both_pictures(tmp_path: Path) -> None:
    cache = tmp_path / "mnist"
    cache.mkdir()
    square = np.zeros((650, 28, 28), np.uint8)
    square[:, 4:14, 8:24] = 255
    (cache / "train-images-idx3-ubyte").write_bytes(struct.pack(">4I", 0x803, 650, 28, 28) + square.tobytes())
    done = subprocess.run(
        [sys.executable, "-W", "error", str(FILE), "--epochs", "8", "--beta", "20"],
        cwd=tmp_path,
        env={"LOWERBOUND_CACHE": str(tmp_path), "MPLBACKEND": "Agg", "HOME": str(tmp_path), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    elbos = [float(value) for value in re.findall(r"elbo (-?[\d.]+) nats", done.stdout)]
    assert len(elbos) == 8
    assert elbos[-1] > elbos[0] / 2
    plt = pytest.importorskip("matplotlib.image")
    digits = plt.imread(tmp_path / "nano-digits.png")[..., 0]
    assert digits.shape == (8 * 28, 8 * 28)
    # each tile of the grid is upright and whole: the one image of the training set
    tile = digits.reshape(8, 28, 8, 28).transpose(0, 2, 1, 3).mean((0, 1))
    assert tile[5:13, 9:23].min() > 0.7
    assert max(tile[:3].max(), tile[15:].max(), tile[:, :7].max(), tile[:, 25:].max()) < 0.3
    assert (tmp_path / "nano-curves.png").stat().st_size > 10_000


def test_it_says_how_to_get_the_data_and_looks_where_the_library_keeps_them(
    nano: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetch = pytest.importorskip("lowerbound.data.fetch")
    for variable, value in {"LOWERBOUND_CACHE": tmp_path / "own", "XDG_CACHE_HOME": tmp_path / "xdg"}.items():
        monkeypatch.delenv("LOWERBOUND_CACHE", raising=False)
        monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
        monkeypatch.setenv(variable, str(value))
        with pytest.raises(SystemExit, match="lowerbound train") as caught:
            nano.main([])
        assert str(fetch.cache_folder() / "mnist" / "train-images-idx3-ubyte") in str(caught.value)
