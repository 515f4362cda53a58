import base64
import dataclasses
import hashlib
import io
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import torch
from PIL import Image

from lowerbound import figures, report
from lowerbound.report import Content, Picture

HOSTILE = "<img src=x onerror=alert(1)>\"'&</script></style>"
VOID = {"meta", "img", "br"}


class Reader(HTMLParser):
    """Collects elements and the text a reader sees, and checks that what is opened is closed."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text, self.open = "", []
        self.feed(page)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag
        self.text += " " if tag in {"span", "b", "small", "p", "h1", "h3", "li", "dt", "dd"} else ""

    def handle_data(self, data: str) -> None:
        if not {"style", "script"} & set(self.open):
            self.text += data


def read(page: str) -> str:
    return " ".join(Reader(page).text.split()).replace(" .", ".").replace(" ,", ",")


def rows(n: int = 30, latents: int = 4) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for t in range(1, n + 1):
        row = {"step": t, "epoch": t / 10, "elbo": -110 - 440 / t, "distortion": 100 + 430 / t, "rate": 10 + 10 / t}
        row |= {"loss": 110 + 440 / t, "beta": 4.0}
        found.append({"split": "train", **row, "lr": 0.001})
        if t % 10 == 0:
            found.append({"split": "validation", **row, "kl_by_dim": [1.0] * latents})
    return found


def measured(latents: int = 4, collapsed: tuple[int, ...] = ()) -> dict[str, Any]:
    errors = {"elbo": 0.251, "distortion": 0.2, "rate": 0.1}
    kl = [0.001 if i in collapsed else 1.0 + i for i in range(latents)]
    return {
        "images": 10000, "elbo": -104.256, "distortion": 84.2, "rate": 20.056, "loss": 164.4, "standard_error": errors,
        "kl_by_dim": kl, "latents": latents, "active": latents - len(collapsed), "collapsed": list(collapsed),
    }  # fmt: skip


def content(latents: int = 4, collapsed: tuple[int, ...] = (), beta: float = 4.0, **changes: Any) -> Content:
    some = Content(
        name="mnist-beta-vae-x7k2p9",
        path="runs/mnist-beta-vae-x7k2p9",
        spec={"latents": latents, "seed": 0},
        data={
            "name": "mnist",
            "kind": "mnist",
            "images": {"train": 55000, "validation": 5000, "test": 10000},
            "shape": [1, 28, 28],
        },
        env={"versions": {"lowerbound": "0.1.0"}, "command": "lowerbound train"},
        history=rows(latents=latents),
        metrics={
            "test": measured(latents, collapsed),
            "validation": measured(latents, collapsed),
            "weights": {"which": "best", "ema": False, "step": 30},
            "likelihood": {"name": "bernoulli", "density": True, "note": ""},
            "beta": {"asked": beta, "reached": beta},
            "seconds": {"training": 61.2},
            "parameters": 325000,
        },
        commands=[("more new images", "lowerbound sample runs/x -n 100")],
        citation="Higgins et al., 2017",
        recipe="beta-vae",
    )
    return dataclasses.replace(some, **changes)


def without(thing: dict[str, Any], *keys: str) -> dict[str, Any]:
    return {k: v for k, v in thing.items() if k not in keys}


@pytest.fixture
def picture(tmp_path: Path) -> Picture:
    fig = figures.grid(torch.rand(64, 1, 28, 28))
    return Picture("New samples", "from the prior", figures.save(fig, tmp_path / "samples.png", "best weights"))


def test_headline_figures_come_first_with_their_errors() -> None:
    text = read(report.html(content(collapsed=(1, 2))))
    head = text[: text.index("A variational autoencoder")]
    for part in ("test elbo −104.26 ± 0.25 nats", "test rate 20.06 ± 0.10", "β 4 as asked", "1 min 1 s"):
        assert part in head
    assert "latents in use 2 of 4, 2 collapsed" in head


def test_the_story_is_told_from_the_numbers() -> None:
    text = read(report.html(content(collapsed=(1, 2), beta=20.0)))
    assert "with 4 latents and 325,000 parameters was trained on 55,000 images of mnist (28×28 pixels, grey)" in text
    assert "for 30 steps (3.0 epochs)" in text
    assert "the weights that did best on validation (step 30)" in text
    assert "the elbo rose from −154.0 to −124.7 nats" in text
    assert "Of 4 latents 2 are in use; 2 have collapsed to the prior" in text
    assert "below 0.01): z1, z2." in text
    assert "With β = 20 each nat of rate costs 20 nats of the loss" in text


def test_no_collapse_and_full_collapse_are_said() -> None:
    assert "All 4 latents are in use: none has collapsed" in read(report.html(content()))
    text = read(report.html(content(collapsed=(0, 1, 2, 3))))
    assert "none are in use; 4 have collapsed" in text
    assert "all samples and reconstructions look alike" in text
    assert "has collapsed to the prior" in read(report.html(content(collapsed=(3,))))
    assert "With β" not in read(report.html(content(collapsed=(3,), beta=1.0)))


def test_a_fall_of_the_elbo_is_told() -> None:
    history = rows()
    history[-1] = {**history[-1], "elbo": -140.0}
    text = read(report.html(content(history=history)))
    assert "It was best at step 20 and lost 8.0 nats after that" in text
    assert "It was best" not in read(report.html(content()))


def test_boxes_speak_only_where_there_is_something_to_say() -> None:
    clean = content(history=[])
    assert 'class="box"' not in report.html(clean)
    unknown = {**clean.metrics, "likelihood": {"name": "Ladder", "density": None, "note": ""}}
    assert 'class="box"' not in report.html(content(history=[], metrics=unknown))
    grey = {**clean.metrics, "likelihood": {"name": "bernoulli", "density": False, "note": "grey pixels"}}
    text = read(report.html(content(history=[], metrics=grey)))
    assert "not a likelihood: the number compares only with other runs of the same kind" in text
    for way in ("--set model.likelihood.kind=continuous-bernoulli", "--recipe sigma-vae", "--binarise dynamic"):
        assert way in text
    early = {**clean.metrics, "beta": {"asked": 4.0, "reached": 1.5}}
    assert "β reached 1.5 of the 4 that was asked for" in read(report.html(content(history=[], metrics=early)))
    data = {**clean.data, "notes": ["12 odd ones"], "unreadable": [f"{i}.png" for i in range(30)]}
    text = read(report.html(content(history=[], data=data)))
    assert "12 odd ones" in text
    assert "30 files could not be read and were left out" in text
    assert "19.png and 10 more" in text


def test_hostile_text_stays_text(picture: Picture) -> None:
    base = content()
    page = report.html(
        content(
            name=HOSTILE,
            path=HOSTILE,
            spec={HOSTILE: HOSTILE, "latents": 4},
            data={"name": HOSTILE, HOSTILE: [HOSTILE], "shape": [3, 8, 8], "notes": [HOSTILE], "unreadable": [HOSTILE]},
            env={HOSTILE: {HOSTILE: HOSTILE}, "versions": {"lowerbound": HOSTILE}},
            metrics={
                **base.metrics,
                "weights": {"which": HOSTILE, "step": 3},
                "likelihood": {"name": HOSTILE, "density": False, "note": HOSTILE},
            },
            pictures=[Picture(HOSTILE, HOSTILE, picture.path), Picture(HOSTILE, HOSTILE, f"/nowhere/{HOSTILE}")],
            commands=[(HOSTILE, HOSTILE)],
            citation=HOSTILE,
            recipe=HOSTILE,
        )
    )
    reader = Reader(page)
    images = [attributes for tag, attributes in reader.elements if tag == "img"]
    assert len(images) == 1
    assert images[0]["alt"] == HOSTILE
    assert not any(name.startswith("on") for _, attributes in reader.elements for name in attributes)
    assert [tag for tag, _ in reader.elements if tag == "script"] == ["script"]
    assert reader.text.count(HOSTILE) >= 15


def test_the_page_refers_to_nothing_outside(picture: Picture) -> None:
    page = report.html(content(pictures=[picture]))
    namespace = 'xmlns="http://www.w3.org/2000/svg"'
    assert "http" not in page.replace(namespace, "").replace("http-equiv", "")
    assert "@import" not in page
    for tag, attributes in Reader(page).elements:
        assert tag not in {"link", "iframe", "object", "base", "form"}
        for name in ("src", "href", "srcset", "xlink:href"):
            assert (attributes.get(name) or "#").startswith(("data:image/png;base64,", "#"))
    assert not re.search(r"url\((?!#)", page)


def test_the_policy_lets_only_our_script_run() -> None:
    page = report.html(content())
    policy = next(a["content"] for tag, a in Reader(page).elements if "http-equiv" in a)
    script = re.search(r"<script>(.*?)</script>", page, re.S)[1]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert policy.startswith("default-src 'none'; img-src data:;")
    assert f"script-src 'sha256-{digest}'" in policy


def test_figures_parse_and_share_no_ids() -> None:
    page = report.html(content(collapsed=(1,)))
    drawings = re.findall(r"<svg .*?</svg>", page, re.S)
    assert len(drawings) == 3
    labels = [ElementTree.fromstring(d).get("aria-label") for d in drawings]
    assert labels == ["elbo, distortion and rate over the training", "KL of each latent",
                      "KL of each latent over the training"]  # fmt: skip
    ids = re.findall(r'\bid="([^"]+)"', page)
    assert len(ids) == len(set(ids)) > 0


def test_pictures_are_inside_and_their_bytes_are_the_files(picture: Picture) -> None:
    page = report.html(content(pictures=[picture]))
    source = re.search(r'src="data:image/png;base64,([^"]+)"', page)[1]
    assert base64.b64decode(source) == Path(picture.path).read_bytes()
    text = read(page)
    assert "New samples" in text
    assert "Made with the best weights of step 30." in text
    said = read(report.html(content(pictures=[dataclasses.replace(picture, caption="From the last weights.")])))
    assert "Made with" not in said
    assert len(page.encode()) < 5_000_000


def test_a_large_picture_is_made_smaller_for_the_page_only(tmp_path: Path) -> None:
    path = tmp_path / "large.png"
    Image.effect_noise((4000, 2000), 90).save(path)
    before = path.read_bytes()
    page = report.html(content(pictures=[Picture("large", "", path)]))
    source = re.search(r'src="data:image/png;base64,([^"]+)"', page)[1]
    with Image.open(io.BytesIO(base64.b64decode(source))) as image:
        assert image.size == (1800, 900)
    assert path.read_bytes() == before
    assert len(page) < 5_000_000


def test_missing_and_damaged_pictures_are_said(tmp_path: Path, picture: Picture) -> None:
    bad = tmp_path / "bad.png"
    bad.write_bytes(Path(picture.path).read_bytes()[:20])
    text = read(report.html(content(pictures=[Picture("a", "b", tmp_path / "none.png"), Picture("c", "d", bad)])))
    assert "The picture none.png could not be read: FileNotFoundError" in text
    assert "The picture bad.png could not be read" in text


@pytest.mark.parametrize(
    "changes",
    [
        {"history": []},
        {"history": rows()[:1]},
        {"history": [r for r in rows() if r["split"] == "train"]},
        {"history": [{"split": "train", "step": 1, "epoch": 0.1, "loss": 3.0}]},
        {"history": [{**rows()[0], "elbo": float("nan"), "distortion": float("inf"), "rate": None}]},
        {"metrics": {}},
        {"metrics": {"test": None, "beta": None, "weights": None, "likelihood": None, "seconds": None}},
        {
            "metrics": {
                "test": {**measured(), "kl_by_dim": None, "standard_error": None, "collapsed": None},
                "beta": None,
            }
        },
        {"metrics": {"test": {"images": 3, "loss": 1.0}}},
        {"metrics": {"test": {**measured(), "elbo": float("nan")}}},
        {"data": {}, "spec": {}, "env": {}, "commands": [], "citation": None, "recipe": None},
        {"data": {"name": "moons", "kind": "moons", "shape": [2], "images": {"train": 5}}},
    ],
)
def test_what_is_missing_is_left_out(changes: dict[str, Any]) -> None:
    text = read(report.html(content(**changes)))
    assert "How to read this page" in text
    assert "None" not in text
    assert "nan" not in text


def test_validation_stands_in_for_a_missing_test_split() -> None:
    text = read(report.html(content(metrics=without(content().metrics, "test"))))
    assert "validation elbo −104.26" in text
    assert "test elbo" not in text


def test_vectors_are_called_examples() -> None:
    text = read(report.html(content(data={"name": "moons", "shape": [2], "images": {"train": 900}})))
    assert "trained on 900 examples of moons (2 numbers each)" in text
    assert "images" not in text[: text.index("Go on")].replace("closer images", "")


@pytest.mark.parametrize("latents", [1, 500])
def test_one_latent_and_five_hundred(latents: int) -> None:
    gone = tuple(range(0, latents - 1, 2))
    page = report.html(content(latents=latents, collapsed=gone))
    assert len(page) < 5_000_000
    assert ("and 238 more." if latents == 500 else "The one latent is in use") in read(page)


def test_write_is_the_page_and_deterministic(tmp_path: Path, picture: Picture) -> None:
    path = report.write(tmp_path / "report.html", content(pictures=[picture]))
    assert path.read_text("utf-8") == report.html(content(pictures=[picture]))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["report.html", "samples.png"]
