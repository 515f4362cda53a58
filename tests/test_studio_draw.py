"""Drawing and understanding: pictures read as the data are, and every number of the way from an image to its elbo."""

import io
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from starlette.testclient import TestClient
from torch.distributions import Normal, kl_divergence

import lowerbound
from lowerbound import explore, gibbs, likelihood, nets, posterior, prior
from lowerbound.data.images import centred
from lowerbound.errors import LowerboundError, UsageError
from lowerbound.oracle import Linear
from lowerbound.run import Run
from lowerbound.studio.api import draw
from lowerbound.studio.state import Studio
from lowerbound.studio.uploads import Uploads
from lowerbound.tasks.drawn import Drawn, drawn
from lowerbound.vae import VAE
from lowerbound.walk import noise, seen, walk
from studiopage import id_of, shelf, visitor


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return shelf(tmp_path_factory, **{"digits-0.1": "weak", "digits-4": "strong"})


@pytest.fixture(scope="module")
def run(client: TestClient) -> str:
    return id_of(client, "digits-0.1")


def file(pixels: np.ndarray, kind: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels.astype(np.uint8)).save(buffer, kind, **options)
    return buffer.getvalue()


def ran(line: str, **given: Any) -> dict[str, Any]:
    """What a line of Python has made."""
    exec(line, given)
    return given


def bar(side: int = 80) -> np.ndarray:
    """White ink on black: an upright bar, right of the middle."""
    pixels = np.zeros((side, side), np.uint8)
    pixels[side // 8 : -side // 8, side // 2 : side * 5 // 8] = 255
    return pixels


def send(client: TestClient, run: str, body: bytes, **query: Any) -> Any:
    return client.post("/api/images", params={"run": run, **query}, content=body)


# ---- the way through the model


def gaussian(latents: int = 3) -> VAE:
    with torch.random.fork_rng():
        torch.manual_seed(1)
        return VAE(
            posterior.Gaussian(nets.MLP((1, 4, 4)), latents), prior.Standard(latents),
            likelihood.Bernoulli(nets.MLP((latents,), (1, 4, 4))),
        ).double()  # fmt: skip


def test_the_steps_of_a_walk_are_those_of_the_formulas() -> None:
    model, x = gaussian(), torch.linspace(0, 1, 16).double().view(1, 4, 4)
    eps = noise(3, seed=5, strength=1.5).double()
    step = walk(model, x, eps)
    assert torch.equal(step.z, step.mu + step.sigma * eps)
    with torch.no_grad():
        mu, logvar = model.posterior.params(x[None]).chunk(2, -1)
    assert torch.equal(step.sigma, torch.exp(0.5 * logvar[0]))
    closed = -0.5 * (1 + logvar - mu.square() - logvar.exp())[0]
    assert step.rates is not None
    torch.testing.assert_close(step.rates, closed)
    torch.testing.assert_close(step.rates.sum(), step.rate)
    lam = step.image.double()
    assert step.costs is not None
    torch.testing.assert_close(step.costs, -(x * lam.log() + (1 - x) * (1 - lam).log()))
    torch.testing.assert_close(step.costs.sum(), step.distortion)
    torch.testing.assert_close(step.elbo, -(step.distortion + step.rate))
    assert step.heat is not None
    assert float(step.heat.max()) == 1.0
    assert step.heat.flatten().argmax() == step.costs.flatten().argmax()


def test_noise_of_a_seed_is_stretched_by_its_strength() -> None:
    assert torch.equal(noise(5, 7, 2.0), 2 * noise(5, 7))
    assert not torch.equal(noise(5, 7), noise(5, 8))
    step = walk(gaussian(), torch.zeros(1, 4, 4).double(), noise(3, 7, 0.0))
    assert torch.equal(step.z, step.mu)


def test_only_a_diagonal_gaussian_is_walked_and_with_as_much_noise_as_it_has_latents() -> None:
    flow = VAE(posterior.IAF(nets.MLP((4,)), 2), prior.Standard(2), likelihood.Gaussian(nets.MLP((2,), (4,))))
    with pytest.raises(UsageError, match="no diagonal Gaussian but IAF"):
        walk(flow, torch.zeros(4), torch.zeros(2))
    with pytest.raises(UsageError, match="2 numbers, and the model 3 latents"):
        walk(gaussian(), torch.zeros(1, 4, 4).double(), torch.zeros(2))


def test_what_is_seen_has_the_closed_forms_of_the_linear_model() -> None:
    """With the exact posterior of a linear model the elbo is log p(x) itself, whatever z is drawn."""
    known = Linear(torch.tensor([[3.0], [4.0]], dtype=torch.float64), torch.zeros(2).double(), sigma=0.5)
    x = torch.tensor([1.0, 2.0]).double()
    found = seen(known.vae(exact=True), x, samples=20_000)
    assert found.rate is not None
    assert found.exact
    torch.testing.assert_close(-found.distortion - found.rate, known.log_p(x[None])[0], atol=0.02, rtol=0)
    q = Normal(found.mu, found.sigma)
    torch.testing.assert_close(found.rate, kl_divergence(q, Normal(0.0, 1.0)).sum().double())
    torch.testing.assert_close(found.z.mean(0), found.mu, atol=0.01, rtol=0)
    torch.testing.assert_close(found.z.std(0), found.sigma, atol=0.01, rtol=0)


def test_of_a_flow_the_spread_is_that_of_its_samples() -> None:
    flow = VAE(posterior.IAF(nets.MLP((4,)), 2), prior.Standard(2), likelihood.Gaussian(nets.MLP((2,), (4,))))
    found = seen(flow, torch.ones(4), samples=500)
    assert found.rates is None
    torch.testing.assert_close(found.sigma, found.z.std(0, correction=0))
    assert found.exact is False


# ---- pictures


def test_a_drawing_is_read_as_the_data_are(client: TestClient, run: str) -> None:
    found = send(client, run, file(bar()), invert="no").json()
    assert found["picture"]["width"] == found["picture"]["height"] == 8
    again = client.post(f"/api/runs/{run}/posterior", json={"image": found["id"]}).json()
    assert again["picture"] == found["picture"]


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF", "BMP"])
def test_five_formats_are_read(client: TestClient, run: str, kind: str) -> None:
    assert send(client, run, file(bar(), kind)).status_code == 200


@pytest.mark.parametrize("body", [
    b"", b"<svg xmlns='http://www.w3.org/2000/svg'/>", b"<!doctype html><p>", b"%!PS-Adobe-3.0 EPSF-3.0\n",
    file(bar(), "TIFF"), file(bar(), "PPM"), file(bar())[:60], b"\x89PNG\r\n\x1a\n" + b"\0" * 40,
])  # fmt: skip
def test_other_files_are_refused_in_words(client: TestClient, run: str, body: bytes) -> None:
    answer = send(client, run, body)
    assert answer.status_code == 400
    assert "cannot be read" in answer.json()["error"]


def test_a_bomb_is_refused_before_it_is_decoded(client: TestClient, run: str) -> None:
    bomb = file(np.zeros((4097, 4097), np.uint8))
    assert len(bomb) < 100_000
    assert "more than 17 million" in send(client, run, bomb).json()["error"]


def test_dark_on_light_is_turned_to_what_the_data_are(client: TestClient, run: str) -> None:
    light = file(255 - bar())
    turned, kept = send(client, run, light).json(), send(client, run, light, invert="no").json()
    assert turned["picture"]["sheet"] == send(client, run, file(bar())).json()["picture"]["sheet"]
    assert any("swapped" in note for note in turned["notes"])
    assert kept["picture"]["sheet"] != turned["picture"]["sheet"]
    assert kept["notes"] == []


def test_a_photograph_is_turned_as_its_exif_says(client: TestClient, run: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = 3  # upside down
    upside = file(bar()[::-1, ::-1], "PNG", exif=exif.tobytes())
    assert send(client, run, upside).json()["picture"] == send(client, run, file(bar())).json()["picture"]


def test_centred_ink_has_its_mass_in_the_middle() -> None:
    ink = np.zeros((100, 140), np.uint8)
    ink[60:90, 5:25] = 255
    found = centred(ink, (28, 28)).astype(float)
    rows, _ = np.nonzero(found)
    assert rows.max() - rows.min() + 1 == 20
    total = found.sum()
    middle = [(found.sum(1 - axis) @ (np.arange(28) + 0.5)) / total for axis in (0, 1)]
    np.testing.assert_allclose(middle, 14, atol=0.5)


def test_vectors_are_not_drawn(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder / "digits-4", tmp_path / "flat")
    known = json.loads((tmp_path / "flat" / "data.json").read_text()) | {"shape": [64]}
    (tmp_path / "flat" / "data.json").write_text(json.dumps(known))
    with pytest.raises(UsageError, match="vectors, not images"):
        drawn(Run.open(tmp_path / "flat"), file(bar()))


def test_only_the_newest_pictures_are_kept() -> None:
    uploads = Uploads(2)
    pictures = [Drawn(torch.full((1, 2, 2), float(i)), []) for i in range(3)]
    names = [uploads.keep(picture) for picture in pictures]
    assert uploads.find(names[2]) is pictures[2]
    with pytest.raises(LowerboundError, match="no longer kept"):
        uploads.find(names[0])


# ---- routes


def test_a_held_out_image_is_seen_by_its_row_or_its_picture(client: TestClient, run: str) -> None:
    taken = client.post(f"/api/runs/{run}/held", json={"row": 3}).json()
    by_row = client.post(f"/api/runs/{run}/posterior", json={"row": 3}).json()
    by_image = client.post(f"/api/runs/{run}/posterior", json={"image": taken["id"]}).json()
    lines = ("command", "given")
    assert [by_row[name] for name in by_row if name not in lines] == [by_image[n] for n in by_image if n not in lines]
    assert "(1, 1, 8, 8)" in by_image["given"]
    assert taken["label"] in set("0123456789")
    assert by_row["elbo"] == pytest.approx(-(by_row["distortion"] + by_row["rate"]), abs=2e-4)
    assert sum(by_row["rates"]) == pytest.approx(by_row["rate"], abs=1e-2)
    opened = lowerbound.load(client.get(f"/api/runs/{run}").json()["path"])
    x = opened.source.test.images(3, 4)
    np.testing.assert_allclose(by_row["mu"], opened.model.encode(x)[0].detach(), atol=1e-4)
    line = ran(by_row["command"])
    torch.testing.assert_close(line["q"].mean, opened.model.encode(x))
    torch.testing.assert_close(line["reconstruction"], opened.model.reconstruct(x))
    assert ran(by_image["command"], x=x)["q"].mean.equal(line["q"].mean)
    assert by_row["samples"]["count"] == 8


def test_the_walk_of_the_page_is_the_walk_of_the_model(client: TestClient, run: str) -> None:
    found = client.post(f"/api/runs/{run}/walk", json={"row": 1, "seed": 4, "strength": 0.5}).json()
    z = np.array(found["mu"]) + np.array(found["sigma"]) * np.array(found["eps"])
    np.testing.assert_allclose(found["z"], z, atol=3e-4)
    np.testing.assert_allclose(found["eps"], noise(len(z), 4, 0.5), atol=1e-4)
    assert found["heat"]["count"] == 1
    opened = lowerbound.load(client.get(f"/api/runs/{run}").json()["path"])
    decoded = explore.decode(opened.model, torch.tensor([found["z"]]))
    assert float(decoded.max()) <= 1


@pytest.mark.parametrize("asked", [{}, {"row": 1, "image": "0" * 12}, {"row": 10**6}, {"image": "0" * 12}])
def test_an_image_that_is_not_there_is_said(client: TestClient, run: str, asked: dict[str, Any]) -> None:
    assert client.post(f"/api/runs/{run}/walk", json=asked).status_code in (400, 404)


def filled(client: TestClient, run: str, **asked: Any) -> dict[str, Any]:
    """Ask for missing pixels until they are there."""
    while not (found := client.post(f"/api/runs/{run}/impute", json=asked).json())["ready"]:
        assert 0 < found["done"] < found["of"]
    return dict(found)


def test_missing_pixels_are_filled_in_and_the_others_left(client: TestClient, run: str) -> None:
    ask = {"row": 2, "steps": 5, "draws": 3}
    named = filled(client, run, **ask, missing="left")
    painted = filled(client, run, **ask, missing="11110000" * 8)
    assert named["draws"] == painted["draws"]
    assert named["missing"] == 32
    assert named["draws"]["count"] == 3
    assert "impute" in named["command"]
    assert "--missing left" in named["command"]
    line = ran(painted["command"])
    assert torch.equal(line["missing"], line["found"].missing[0, 0])
    torch.testing.assert_close(line["found"].found.acceptance, torch.tensor([painted["acceptance"]]), atol=1e-4, rtol=0)
    assert painted["moves"] == pytest.approx(5 * painted["acceptance"], abs=1e-3)
    drawing = client.post(f"/api/runs/{run}/held", json={"row": 2}).json()["id"]
    own = filled(client, run, image=drawing, steps=5, draws=3, missing="left")
    assert "x is your picture" in own["given"]
    again = ran(own["command"], x=line["x"])["found"].found
    torch.testing.assert_close(again.acceptance, torch.tensor([own["acceptance"]]), atol=1e-4, rtol=0)
    for wrong in ("1" * 63, "0" * 64, "1" * 64, "elsewhere"):
        refused = client.post(f"/api/runs/{run}/impute", json={**ask, "missing": wrong})
        assert refused.status_code == 400
    assert refused.json()["error"].startswith("missing: string should match pattern")  # by the name that was given


def test_while_pixels_are_filled_in_others_are_answered(client: TestClient, run: str) -> None:
    ask = {"row": 2, "steps": 2000, "draws": 64, "missing": "left"}
    turns = []
    for _ in range(3):
        turns.append(client.post(f"/api/runs/{run}/impute", json=ask).json())
        assert client.post(f"/api/runs/{run}/decode", json={"z": [[0.0, 0.0, 0.0]]}).json()["count"] == 1
    assert 0 < turns[0]["done"] < turns[1]["done"] < turns[2]["done"] < turns[2]["of"] == 2050
    # whoever asks no more has stopped it: another work has the model for itself
    assert filled(client, run, row=3, steps=5, missing="top")["draws"]["count"] == 5
    again = client.post(f"/api/runs/{run}/impute", json=ask).json()
    assert again["ready"] or again["done"] > turns[2]["done"]  # and goes on where it was


def test_chains_in_turns_are_the_chains_at_once() -> None:
    model, x = gaussian(), torch.linspace(0, 1, 16).double().view(1, 1, 4, 4)
    missing = torch.zeros_like(x, dtype=torch.bool)
    missing[..., :2] = True
    seen = []

    def between(done: int, of: int) -> None:
        seen.append((done, of))
        model.train().sample(3, seed=done)
        torch.rand(5)

    found = gibbs.finished(gibbs.imputing(model, x, missing, steps=6, warmup=2, seed=1), between)
    whole = gibbs.impute(model, x, missing, steps=6, warmup=2, seed=1)
    assert seen == [(i + 1, 8) for i in range(8)]
    assert torch.equal(found.draws, whole.draws)
    assert torch.equal(found.mean, whole.mean)


def test_runs_that_differ_in_beta_are_a_set_and_the_tour_begins_in_it(client: TestClient, run: str) -> None:
    found = client.get(f"/api/runs/{run}/betas").json()
    assert [row["beta"] for row in found["runs"]] == [0.1, 4.0]
    assert found["alike"]
    assert found["runs"][0]["rate"] > found["runs"][1]["rate"]
    assert "sweep digits" in found["command"]
    assert client.get("/api/tour").json()["run"] in [row["id"] for row in found["runs"]]


def test_a_picture_goes_with_its_reader_from_run_to_run(client: TestClient, run: str) -> None:
    image = send(client, run, file(bar())).json()["id"]
    other = id_of(client, "digits-4")
    first, second = (client.post(f"/api/runs/{one}/posterior", json={"image": image}).json() for one in (run, other))
    assert first["picture"] == second["picture"]
    assert first["rate"] > second["rate"]


def test_a_folder_without_runs_has_no_tour(tmp_path: Path) -> None:
    with visitor(tmp_path) as client:
        assert client.get("/api/tour").json() == {"run": None}


def test_from_run_to_run_only_the_model_is_loaded(folder: Path, client: TestClient) -> None:
    studio = Studio(folder)
    runs = [id_of(client, name) for name in ("digits-0.1", "digits-4")]
    image = draw.upload.call(studio, runs[0], file(bar()), invert="no")()["id"]
    for run in runs:
        draw.posterior.call(studio, run, image=image)
        draw.walked.call(studio, run, image=image)
        assert "source" not in vars(studio.opened(run).run)
