"""The table of runs, the form, the comparison and the tour under a person's hands, in a real browser."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from realbrowser import Server, browser, free_port, needed, until
from studiopage import shelf

pytestmark = needed


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A browser that was let in to a studio of three runs; one has a posterior that is a point."""
    folder = shelf(tmp_path_factory, weak="weak", strong="strong", point="plane")
    spec = json.loads((folder / "point" / "spec.json").read_text())
    spec["model"]["posterior"]["kind"] = "dirac"
    (folder / "point" / "spec.json").write_text(json.dumps(spec))
    with (
        Server(folder, free_port()) as server,
        browser(viewport={"width": 1280, "height": 900}) as one,
    ):
        one.goto(server.start())
        one.folder, one.studio = folder, one.url.split("#")[0]
        found = one.evaluate("fetch('/api/runs').then(r => r.json())")
        one.runs = {run["name"]: run["id"] for run in found["runs"]}
        yield one


def go(page: Any, view: str) -> None:
    """Go to a view, anew, with no drawing of before."""
    page.evaluate("sessionStorage.clear()")
    page.goto("about:blank")
    page.goto(f"{page.studio}#/{view}")
    page.locator("main h1").first.wait_for()
    calm(page)


def calm(page: Any) -> None:
    until(lambda: page.locator("main .busy, main .stale").count() == 0)


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photographs")
    rng = np.random.default_rng(0)
    for i in range(30):
        size = (40, 30, 3) if i % 2 else (30, 40, 3)
        Image.fromarray(rng.integers(0, 256, size, np.uint8)).save(folder / f"{i}.png")
    return folder


def test_photographs_of_several_sizes_are_trained_by_what_the_form_says(page: Any, photographs: Path) -> None:
    go(page, f"train?data={photographs}")
    size = page.get_by_label("Image size")
    start = page.get_by_role("button", name="Start training")
    assert size.get_attribute("aria-invalid") == "true"
    page.locator(".field .problem", has_text="2 different sizes").wait_for()
    size.fill("16x16")
    until(start.is_enabled)
    assert "data.size=[16,16]" in page.locator(".plan .command code").inner_text()
    page.get_by_text("which is not a likelihood").wait_for()
    page.get_by_text("Other likelihoods").click()
    page.get_by_text("Pixels of 256 levels under a logistic density").wait_for()
    page.get_by_role("button", name="discretised-logistic", exact=True).click()
    page.get_by_text("DiscretisedLogistic").wait_for()
    assert page.evaluate("document.activeElement.value") == "discretised-logistic"
    assert page.get_by_text("which is not a likelihood").count() == 0


@pytest.mark.parametrize(
    ("label", "typed", "words"),
    [
        ("β", "1e", "This is no number."),
        ("β", "1e308", "less than or equal to 1000000000"),
        ("Latents", "1.5", "valid integer"),
        ("Latents", "100000000", ""),  # a model that is too large: the whole form is meant
    ],
)
def test_nothing_is_started_from_a_number_that_cannot_be(page: Any, label: str, typed: str, words: str) -> None:
    go(page, "train?data=digits")
    start = page.get_by_role("button", name="Start training")
    until(start.is_enabled)
    page.get_by_label(label, exact=True).press_sequentially(typed)
    page.locator(".plan, .field").get_by_text(words or "too large to be tried out here").first.wait_for()
    calm(page)
    assert not start.is_enabled()
    assert page.get_by_text("Cannot read").count() == 0
    if words:
        assert (
            words in page.locator(".field", has=page.get_by_label(label, exact=True)).locator(".problem").inner_text()
        )
    page.get_by_label(label, exact=True).fill("2")
    until(start.is_enabled)


def test_on_a_phone_a_run_shows_its_state_and_elbo_without_scrolling(page: Any) -> None:
    page.set_viewport_size({"width": 390, "height": 844})
    go(page, "runs")
    for cell in (".name", ".state", "td[data-column=elbo]"):
        boxes = [one.bounding_box() for one in page.locator(f"table.runs tbody {cell}").all()]
        assert len(boxes) == 3
        for box in boxes:
            assert box["x"] >= 0
            assert box["x"] + box["width"] <= 390
    assert page.locator("table.runs").get_by_role("row").count() == 4  # a table to a screen reader, too
    page.set_viewport_size({"width": 1280, "height": 900})


def test_filters_that_leave_no_run_can_be_taken_back(page: Any) -> None:
    go(page, "runs?q=nothing&state=training")
    assert page.get_by_role("combobox", name="State").input_value() == "training"
    page.get_by_role("button", name="Show all").press("Enter")
    page.get_by_role("link", name="weak").wait_for()
    assert page.get_by_label("Filter").evaluate("one => one === document.activeElement && one.value === ''")
    assert "q=" not in page.evaluate("location.hash")


def test_the_keyboard_comes_to_the_content_and_stays_there(page: Any) -> None:
    go(page, "runs")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    assert page.evaluate("[document.activeElement.id, location.hash]") == ["main", "#/runs"]
    page.get_by_role("link", name="weak").press("Enter")
    page.get_by_role("navigation", name="This run").wait_for()
    assert page.evaluate("document.querySelector('#main').contains(document.activeElement)")
    page.get_by_role("navigation", name="Views").get_by_role("link", name="Train").press("Enter")
    page.get_by_role("button", name="Start training").wait_for()
    assert page.evaluate("document.activeElement.textContent") == "Train"


def test_the_tour_begins_with_an_example_and_joins_nothing_that_has_hardly_begun(page: Any) -> None:
    go(page, f"tour/{page.runs['weak']}?step=7")
    page.get_by_role("img", name="Its reconstruction").wait_for()
    page.get_by_text("Hardly begun, with fewer than 200 steps: 2 of these 2 runs").wait_for()
    until(lambda: page.evaluate("document.querySelector('.tour-chart').data?.length") == 3)
    assert page.evaluate("document.querySelector('.tour-chart').data[0].mode") == "markers"
    page.get_by_role("button", name="Draw your own").click()
    page.get_by_role("button", name="Clear").click()
    page.get_by_role("button", name="Next").click()
    page.get_by_text("There is no picture:").wait_for()
    assert page.locator("main canvas.pixels:visible").count() == 0


def test_only_what_the_tour_can_explain_has_its_tab(page: Any) -> None:
    for name, there in (("weak", 1), ("point", 0)):
        go(page, f"watch/{page.runs[name]}")
        tabs = page.get_by_role("navigation", name="This run")
        tabs.get_by_role("link", name="Draw").wait_for()
        assert tabs.get_by_role("link", name="Understand").count() == there


def test_a_comparison_whose_runs_went_says_so(page: Any) -> None:
    shutil.copytree(page.folder / "weak", page.folder / "gone")
    gone = page.evaluate("fetch('/api/runs').then(r => r.json()).then(f => f.runs.find(r => r.name === 'gone').id)")
    shutil.rmtree(page.folder / "gone")
    go(page, f"compare?runs={page.runs['weak']},{gone}")
    page.get_by_text("Of the runs 1 cannot be found in this folder").wait_for()
    go(page, "compare")
    page.get_by_text("Choose two runs or more").wait_for()
    assert page.locator("table").count() == 0


def test_the_charts_of_a_view_that_was_left_are_let_go(page: Any) -> None:
    go(page, f"watch/{page.runs['weak']}")
    until(lambda: page.evaluate("document.querySelectorAll('.chart .main-svg').length") > 0)
    page.evaluate("window.left = [...document.querySelectorAll('.chart')].filter((one) => one._responsiveChartHandler)")
    assert page.evaluate("left.length") > 0
    page.evaluate("run => (location.hash = `#/watch/${run}`)", page.runs["strong"])
    until(lambda: page.evaluate("left.every((one) => !one.isConnected && !one._responsiveChartHandler)"))
