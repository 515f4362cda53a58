import base64
import dataclasses
import hashlib
import io
import re
import shutil
import subprocess
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
        row = {
            "step": 10 * t,
            "epoch": t / 10,
            "elbo": -110 - 440 / t,
            "distortion": 100 + 430 / t,
            "rate": 10 + 10 / t,
        }
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
        "constant": [],
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
            "weights": {"which": "best", "ema": False, "step": 300},
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
    for part in ("test elbo −104.26 ± 0.25 nats", "test rate 20.06 ± 0.10", "β 4 weight of the rate", "1 min 1 s"):
        assert part in head
    assert "latents in use 2 of 4, 2 collapsed" in head


def test_the_story_is_told_from_the_numbers() -> None:
    text = read(report.html(content(collapsed=(1, 2), beta=20.0)))
    assert "with 4 latents and 325,000 parameters was trained on 55,000 images of mnist (28×28 pixels, grey)" in text
    assert "for 300 steps (3.0 epochs)" in text
    short = rows()[:1]
    short[0]["epoch"] = 0.05
    assert "(0.05 epochs)" in read(report.html(content(history=short)))
    assert "the weights that did best on validation (step 300)" in text
    assert "the elbo rose from −154.0 to −124.7 nats" in text
    assert "Of 4 latents 2 are in use; 2 have collapsed to the prior" in text
    assert "collapsed to the prior (KL below 0.05 nats): z1, z2." in text
    assert "With β = 20 each nat of rate costs 20 nats of the loss" in text


def test_no_collapse_and_full_collapse_are_said() -> None:
    assert "All 4 latents are in use: none has collapsed" in read(report.html(content()))
    text = read(report.html(content(collapsed=(0, 1, 2, 3))))
    assert "none are in use; 4 have collapsed" in text
    assert "all samples and reconstructions look alike" in text
    assert "has collapsed to the prior" in read(report.html(content(collapsed=(3,))))
    assert "With β" not in read(report.html(content(collapsed=(3,), beta=1.0)))


def in_states(collapsed: list[int], constant: list[int], **changes: Any) -> str:
    """The story of 4 latents, some of which are not in use."""
    found = measured(4)
    found |= {"active": 4 - len(collapsed) - len(constant), "collapsed": collapsed, "constant": constant, **changes}
    text = read(report.html(content(metrics={**content().metrics, "test": found})))
    return text[: text.index("How to read")]


def test_a_latent_that_costs_rate_has_not_collapsed() -> None:
    text = in_states([1], [0, 2])
    assert "latents in use 1 of 4, 1 collapsed, 2 constant" in text
    assert "1 has collapsed to the prior (KL below 0.05 nats): z1; 2 are constant (KL of 0.05 nats or more" in text
    assert "costs rate and says nothing of the input" in text
    text = in_states([], [0, 1, 2, 3])
    assert "Of 4 latents none are in use; 4 are constant" in text
    assert "collapsed to the prior" not in text
    assert "hardly any rate" not in text


def test_without_a_kl_latents_are_judged_by_the_variance_and_this_is_said() -> None:
    text = in_states([1], [], kl_by_dim=None)
    assert "1 latent is not in use: over the test images the variance of the mean is at most 0.01" in text
    assert "The KL of each is not known" in text
    assert "collapsed" not in text
    assert "(no KL is known)" in in_states([], [], kl_by_dim=None)


def test_a_model_that_has_hardly_begun_is_not_diagnosed() -> None:
    some = content(collapsed=(1, 2))
    text = read(report.html(dataclasses.replace(some, history=[{**r, "step": r["step"] // 2} for r in some.history])))
    text = text[: text.index("How to read")]
    assert "The model has hardly begun: it was trained for 150 steps. 2 latents are not in use yet" in text
    assert "Train longer first, with more --epochs." in text
    assert "latents in use 2 after 150 steps" in text.replace("of 4, ", "")
    assert "collapsed to the prior" not in text


def test_sigma_has_its_card() -> None:
    metrics = {**content().metrics, "sigma": {"value": 0.1234, "kind": "learned"}}
    assert "σ of p(x|z) 0.1234 learned" in read(report.html(content(metrics=metrics)))
    assert "σ of p(x|z)" not in read(report.html(content()))


def test_cards_stand_in_rows_of_equal_length() -> None:
    page = report.html(content())  # elbo, distortion, rate, β, latents, training
    assert '<section class="cards" style="--across:3">' in page


def test_what_was_merely_done_to_the_data_is_no_warning() -> None:
    """Files that could not be read are listed once; how the axes were taken stands in a box that does not warn."""
    notes = ["2 files could not be read: a.png, b.png.", "(9, 8, 8, 3) is taken as (N, H, W, C).", "Left out: 3 TIFF."]
    data = {**content().data, "notes": notes, "unreadable": ["a.png (cut off)", "b.png (empty)"]}
    page = report.html(content(data=data))
    warning, plain = (
        page[page.index(f'<aside class="{kind}">') :].split("</aside>")[0] for kind in ("box", "box plain")
    )
    assert page.count("a.png") == 1
    assert "2 files could not be read" in warning
    assert "Left out" in warning
    assert "taken as" in plain
    assert "taken as" not in warning
    assert "About the data" in plain


def test_heat_map_and_bars_have_one_order() -> None:
    history = rows()
    for row in history:
        if "kl_by_dim" in row:
            row["kl_by_dim"] = [4.0, 3.0, 2.0, 1.0]  # the reverse of what the chosen weights have
    drawings = re.findall(r"<svg .*?</svg>", report.html(content(history=history)), re.S)
    orders = [re.findall(r">(z\d)</text>", drawing) for drawing in drawings[1:]]
    assert orders == [["z3", "z2", "z1", "z0"]] * 2


def test_on_a_dark_screen_charts_follow() -> None:
    page = report.html(content())
    drawing = re.search(r"<svg .*?</svg>", page, re.S)[0]
    assert "var(--chart-paper, #ffffff)" in drawing
    dark = page[page.index("prefers-color-scheme: dark") :]
    named = set(re.findall(r"var\((--chart-\w+)", page))
    assert all(f"{name}:" in dark for name in named)


def test_a_fall_of_the_elbo_is_told() -> None:
    history = rows()
    history[-1] = {**history[-1], "elbo": -140.0}
    text = read(report.html(content(history=history)))
    assert "It was best at step 200 and lost 8.0 nats after that" in text
    assert "It was best" not in read(report.html(content()))


def test_what_a_finding_says_no_box_says_again() -> None:
    """Each box that has a finding of its own is left out beside it."""
    clean = content(history=[])
    grey, beta = {"name": "bernoulli", "density": False, "note": "grey"}, {"asked": 4, "reached": 1}
    some = content(history=[], metrics={**clean.metrics, "likelihood": grey, "beta": beta})
    going = dataclasses.replace(some, unfinished=True)
    said = {
        "likelihood that does not fit the data": ("not a bound of log p(x)", some),
        "warm-up that never ended": ("The schedule did not reach its end", some),
        "training that has not ended": ("This training has not ended", going),
    }
    for name, (box, page) in said.items():
        assert box in read(report.html(page))
        finding = {"name": name, "says": f"Found: {name}.", "evidence": "e.", "advice": "a."}
        found = {"test": {"sections": {}, "findings": [finding], "unlooked": []}}
        text = read(report.html(dataclasses.replace(page, evaluation=found)))
        assert f"Found: {name}. (test)" in text
        assert box not in text
    assert "its newest checkpoint, step 300." in read(report.html(going))
    assert "The schedule did not" not in read(report.html(going))  # nor did the training


def test_a_short_row_fills_a_wide_table() -> None:
    rows = [["", "a", "b"], ["one", "1", "2"], ["other", "is said in words"]]
    section = {"title": "T", "values": {}, "rows": rows, "notes": [], "pictures": []}
    found = {"test": {"sections": {"ledger": section}, "findings": [], "unlooked": []}}
    page = report.html(content(history=[], evaluation=found))
    assert (
        '<tr><td>one</td><td>1</td><td>2</td></tr><tr><td>other</td><td colspan="2">is said in words</td></tr>' in page
    )


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
    made = {**clean.data, "notes": ["Made by code: the pixels are not its own."]}
    assert 'class="box"' not in report.html(content(history=[], data=made))
    data = {**clean.data, "notes": ["12 odd ones"], "unreadable": [f"{i}.png" for i in range(30)]}
    text = read(report.html(content(history=[], data=data)))
    assert "About the data 12 odd ones" in text
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
    assert "Made with the best weights of step 300." in text
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


def course(name: str, values: tuple[float, float], fall: float = 20.0) -> str:
    """The story of a training whose elbo fell, and one of whose terms followed a schedule."""
    history = [r for r in rows() if r["split"] == "validation"]
    for row in history:
        row[name] = values[1]  # as at the schedule's end, whatever the step
    history[-1]["elbo"] = history[0]["elbo"] - fall
    train = [{**without(rows()[0], "beta"), "step": s, name: v} for s, v in zip((1, 300), values, strict=True)]
    history = [without(row, *{"beta", "capacity"} - {name}) for row in history]
    return read(report.html(content(history=[*history[:1], *train, *history[1:]])))


def test_a_fall_of_the_elbo_is_explained_by_the_terms_there_are() -> None:
    text = course("beta", (0.0, 4.0))
    assert "Meanwhile β went from 0 to 4." in text
    assert "or a growing β traded the elbo for a lower rate" in text
    text = course("capacity", (0.0, 25.0))
    assert "Meanwhile C went from 0 to 25." in text
    assert "which holds the rate at C and not where the elbo is best" in text
    assert "β" not in text[text.index("Meanwhile") : text.index("Of 4") if "Of 4" in text else text.index("All 4")]
    constant = course("beta", (4.0, 4.0))
    assert "or β, which weighs the rate in the loss" in constant
    assert "growing" not in constant
    assert "end of its schedule" in course("beta", (0.0, 4.0))
    plain = course("beta", (1.0, 1.0))
    assert "longer training fits the training split only." in plain
    assert "Meanwhile" not in plain


def test_the_capacity_has_its_card_and_its_box() -> None:
    metrics = {**content().metrics, "beta": None, "capacity": {"asked": 25.0, "reached": 25.0}}
    text = read(report.html(content(metrics=metrics)))
    assert "C 25 nats of rate" in text
    assert "schedule" not in text
    lost = {**metrics, "test": measured(4, (0, 1, 2))}
    text = read(report.html(content(metrics=lost)))
    assert "The loss holds the rate of all latents together at C = 25 nats" in text
    assert "β" not in text[text.index("Of 4 latents") : text.index("Measured")]
    early = {**metrics, "capacity": {"asked": 25.0, "reached": 25.0, "chosen": 5.0}}
    text = read(report.html(content(metrics=early)))
    assert "The weights are from before the schedule's end" in text
    assert "from a step at which it was 5." in text
    text = read(report.html(content(metrics={**metrics, "capacity": {"asked": 25.0, "reached": 12.5}})))
    assert "The schedule did not reach its end C reached 12.5 of the 25 that was asked for." in text


def test_a_bound_is_claimed_only_of_what_is_known_to_be_a_density() -> None:
    claims = {}
    for density in (True, False, None):
        metrics = {**content().metrics, "likelihood": {"name": "own", "density": density, "note": ""}}
        claims[density] = "log p(x) ≥ elbo" in read(report.html(content(metrics=metrics)))
    assert claims == {True: True, False: False, None: False}


def test_whether_latents_are_in_use_is_not_told_from_one_image() -> None:
    one = {**measured(), "images": 1, "active": None, "collapsed": []}
    text = read(report.html(content(metrics={**content().metrics, "test": one})))
    assert "Whether the latents are in use cannot be told from one of the images" in text
    assert "latents in use" not in text[: text.index("A variational")]


def test_one_latent_is_singular() -> None:
    text = read(report.html(content(latents=1, collapsed=(0,))))
    assert "1 latents" not in text
    assert "The one latent is not in use: it has collapsed to the prior" in text


def test_a_page_of_noisy_photographs_stays_below_5_mb(tmp_path: Path) -> None:
    """Six pictures of what neither PNG nor JPEG can make small, as a run of 256x256 colour photographs has them."""
    noise = torch.rand(24, 3, 256, 256, generator=torch.Generator().manual_seed(0))
    path = figures.save(figures.grid(noise, columns=6), tmp_path / "noise.png")
    assert path.stat().st_size > 4_000_000
    page = report.html(content(pictures=[Picture(f"picture {i}", "", path) for i in range(6)]))
    assert len(page.encode()) < 5_000_000
    sources = re.findall(r'src="data:image/jpeg;base64,([^"]+)"', page)
    assert len(sources) == 6
    with Image.open(io.BytesIO(base64.b64decode(sources[0]))) as image, Image.open(path) as whole:
        assert image.width > 500
        assert image.width / image.height == pytest.approx(whole.width / whole.height, rel=0.01)
    assert f'width="{whole.width}" height="{whole.height}"' in page  # shown as large as it was


CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed: the page is not opened in a browser")
def test_the_page_opens_in_a_browser(tmp_path: Path, picture: Picture) -> None:
    """Chromium shows title, curves and picture and runs the page's own script; nothing outside is named in it."""
    path = report.write(tmp_path / "report.html", content(pictures=[picture]))
    quiet = ("background-networking", "component-update", "sync")
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", *(f"--disable-{q}" for q in quiet)]
    words = [CHROMIUM, *options, f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom"]
    shown = subprocess.run([*words, path.as_uri()], capture_output=True, text=True, timeout=120, check=True).stdout
    assert "<title>mnist-beta-vae-x7k2p9 · lowerbound</title>" in shown
    drawings = re.findall(r'<svg [^>]*aria-label="([^"]*)"', shown)
    assert "elbo, distortion and rate over the training" in drawings
    assert '<img alt="New samples"' in shown
    assert '<button type="button">Copy</button>' in shown  # the script ran: its hash is the policy's
    assert "http://" not in shown.replace('xmlns="http://www.w3.org/2000/svg"', "")
    assert "https://" not in shown
