"""The studio as a person uses it: in a real browser, with the mouse, from the first training to the last picture."""

import itertools
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lowerbound.run import Run
from realbrowser import Server, browser, free_port, needed, until

pytestmark = needed


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("studio") / "runs"


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[Server]:
    with Server(folder, free_port()) as one:
        yield one


@pytest.fixture(scope="module")
def page(server: Server) -> Iterator[Any]:
    """A browser that was let in."""
    with browser(viewport={"width": 1280, "height": 900}, accept_downloads=True) as one:
        one.goto(server.start())
        yield one


def pixels(page: Any, selector: str) -> str:
    """What a canvas shows, as text that can be compared."""
    found: str = page.eval_on_selector(selector, "canvas => canvas.toDataURL()")
    return found


def here(page: Any) -> str:
    """The address, asked of the page: a view changes it without a navigation."""
    found: str = page.evaluate("location.href")
    return found


def other(page: Any, selector: str, before: str) -> str:
    """Wait until a canvas shows something else than before."""
    until(lambda: pixels(page, selector) != before)
    return pixels(page, selector)


def tab(page: Any, name: str) -> None:
    page.get_by_role("navigation", name="This run").get_by_role("link", name=name).click()


def downloaded(page: Any, click: Any) -> Path:
    with page.expect_download() as waiting:
        click()
    path: Path = waiting.value.path()
    return path


def png_of(page: Any, figure: Any) -> bool:
    """Whether a figure's button saves a PNG."""
    path = downloaded(page, figure.get_by_role("button", name="Save PNG").first.click)
    return path.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"


def a_model_is_trained_from_the_form_and_watched(page: Any, folder: Path) -> None:
    page.get_by_role("link", name="Train", exact=True).click()
    page.get_by_label("Data", exact=True).select_option("digits")
    page.get_by_label("Epochs", exact=True).fill("40")
    page.get_by_label("Latents", exact=True).fill("4")
    page.get_by_label("Name", exact=True).fill("first")
    page.get_by_text("lowerbound train digits").first.wait_for()
    start = page.get_by_role("button", name="Start training")
    until(start.is_enabled)
    start.click()
    page.wait_for_url("**/#/watch/**")
    chart = "document.querySelector('.js-plotly-plot')?.data?.[0]?.x?.length ?? 0"
    until(lambda: page.evaluate(chart) > 0)
    before = page.evaluate(chart)
    until(lambda: page.evaluate(chart) > before)  # the curve grows while one looks
    page.locator(".state.finished").wait_for(timeout=120_000)
    assert Run.open(folder / "first").spec["latents"] == 4


DECODED = ".explore canvas.pixels"


def a_slider_and_the_map_change_what_is_decoded(page: Any) -> None:
    tab(page, "Explore")
    page.locator(DECODED).wait_for()
    slider = page.locator(".latents input[type=range]").first
    before = pixels(page, DECODED)
    box = slider.bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.down()
    page.mouse.move(box["x"] + 0.9 * box["width"], box["y"] + box["height"] / 2, steps=5)
    page.mouse.up()
    other(page, DECODED, before)
    until(lambda: "z=" in here(page))
    page.locator(".map-class").first.wait_for()
    over = ".map-stage canvas:last-of-type"
    page.wait_for_timeout(500)
    cross = pixels(page, over)
    slider.press("ArrowLeft")
    other(page, over, cross)  # it follows the sliders
    moved = pixels(page, DECODED)
    stage = page.locator(".map-stage")
    stage.scroll_into_view_if_needed()
    box = stage.bounding_box()
    for x, y in ((0.3, 0.4), (0.7, 0.6)):
        page.mouse.move(box["x"] + x * box["width"], box["y"] + y * box["height"], steps=4)
        moved = other(page, DECODED, moved)


def two_anchors_make_a_way_that_plays(page: Any) -> None:
    stage = page.locator(".map-stage")
    for x, y in ((0.35, 0.35), (0.65, 0.7)):
        box = stage.bounding_box()
        before = page.locator(".anchors li").count()
        page.mouse.click(box["x"] + x * box["width"], box["y"] + y * box["height"])
        until(lambda before=before: page.locator(".anchors li").count() == before + 1)
    film = page.locator("canvas.film")
    film.wait_for()
    play, pause = (page.get_by_role("button", name=name, exact=True) for name in ("Play", "Pause"))
    pause.wait_for()  # a way plays once it is there
    other(page, "canvas.film", pixels(page, "canvas.film"))
    pause.click()
    before = pixels(page, "canvas.film")
    play.click()
    other(page, "canvas.film", before)
    pause.click()
    gif = downloaded(page, page.get_by_role("button", name="Save GIF").click)
    assert gif.read_bytes()[:6] == b"GIF89a"
    assert png_of(page, page.locator(".explore figure").first)


def reload_keeps_the_view(page: Any) -> None:
    until(lambda: "anchors=" in here(page))
    page.wait_for_timeout(500)  # the newest place comes into the URL once one rests
    address, values = here(page), page.eval_on_selector_all(".latents input", "all => all.map(one => one.value)")
    page.reload()
    page.locator(DECODED).wait_for()
    assert here(page) == address
    assert page.locator(".anchors li").count() == 2
    kept = page.eval_on_selector_all(".latents input", "all => all.map(one => one.value)")
    assert [float(value) for value in kept] == pytest.approx([float(value) for value in values], abs=0.06)


def costs_of(page: Any, before: str) -> str:
    """What the picture costs, once nothing is on its way and it is another than before."""
    page.locator(".costs").wait_for()
    page.wait_for_timeout(700)
    until(lambda: page.locator(".costs").inner_text() != before)
    found: str = page.locator(".costs").inner_text()
    return found


def a_digit_is_drawn_and_its_missing_part_filled_in(page: Any) -> None:
    tab(page, "Draw")
    easel = page.locator("canvas.easel-ink")
    easel.wait_for()
    box = easel.bounding_box()
    page.mouse.move(box["x"] + 0.5 * box["width"], box["y"] + 0.15 * box["height"])
    page.mouse.down()
    page.mouse.move(box["x"] + 0.5 * box["width"], box["y"] + 0.85 * box["height"], steps=8)
    page.mouse.up()
    page.get_by_role("img", name="Its reconstruction").wait_for()
    page.get_by_label("Hide the").select_option("left")
    fill = page.get_by_role("button", name="Fill in", exact=True)
    until(fill.is_enabled)
    fill.click()
    page.get_by_role("img", name="Five completions").wait_for()
    page.get_by_text("of the proposals were accepted").wait_for()
    assert png_of(page, page.locator("figure", has_text="completions"))
    plain = costs_of(page, "")
    page.get_by_label("Centre and scale").check()
    costs = costs_of(page, plain)
    page.reload()
    until(lambda: page.locator(".costs").inner_text() == costs)  # of the drawing as it was, with what is hidden of it
    assert page.get_by_label("Centre and scale").is_checked()
    page.get_by_text("32 of 64 pixels are hidden").wait_for()
    page.get_by_role("button", name="Any").click()
    costs_of(page, costs)
    assert page.get_by_role("img", name="Five completions").count() == 0


def codes_and_report_are_taken_away(page: Any) -> None:
    page.locator("details.take summary").click()
    codes = downloaded(page, page.get_by_role("button", name="The codes of the test split, as CSV").click)
    head, *rows = codes.read_text().splitlines()
    assert "z0" in head
    assert len(rows) > 100
    with page.context.expect_page() as waiting:
        page.get_by_role("link", name="The report").click()
    report = waiting.value
    report.get_by_role("heading").first.wait_for()
    assert "elbo" in report.content()
    report.close()
    page.keyboard.press("Escape")


def the_studio_ends_and_comes_back_and_trainings_go_on(page: Any, server: Server, folder: Path) -> None:
    page.get_by_role("link", name="Train", exact=True).click()
    page.get_by_label("Data", exact=True).select_option("digits")
    page.get_by_label("Epochs", exact=True).fill("40")
    page.get_by_label("Name", exact=True).fill("second")
    start = page.get_by_role("button", name="Start training")
    until(start.is_enabled)
    start.click()
    page.wait_for_url("**/#/watch/**")
    address = here(page)
    server.kill()
    page.get_by_text("The studio has ended").wait_for()
    link = server.start()
    page.get_by_text("was started anew").wait_for()
    with page.context.expect_page() as waiting:
        page.evaluate("link => window.open(link, '_blank', 'noopener')", link)
    waiting.value.wait_for_url(address)  # the new tab comes to the view that was open,
    waiting.value.close()
    page.locator("#banner").wait_for(state="hidden")  # and the old one comes back by itself
    assert here(page) == address
    until(lambda: Run.open(folder / "second").finished, 120)
    page.locator(".state.finished").wait_for()


HOSTILE = (
    "<img src=x onerror=window.hacked=1>",
    "'\"><script>window.hacked=1<\\script>",
    "javascript:window.hacked=1",
    "${window.hacked=1} {{7*7}} \u202egnp.exe",
)
TITLES = dict(runs="Runs", train="Train", compare="Compare", watch="Watch", explore="Explore", draw="Draw")


def go(page: Any, view: str) -> None:
    """Go to a view, and wait until it has what it shows."""
    page.evaluate("view => { location.hash = `#/${view}` }", view)
    title = TITLES.get(view.partition("/")[0].partition("?")[0], "Understand")
    page.wait_for_function("title => document.title.startsWith(title)", arg=title)
    page.locator("main h1").first.wait_for()
    until(lambda: page.locator("main .busy, main .stale").count() == 0)


def runs_of(page: Any) -> dict[str, str]:
    """The opaque names of the runs."""
    script = "fetch('/api/runs').then(r => r.json()).then(found => found.runs.map(run => [run.name, run.id]))"
    return dict(page.evaluate(script))


def hostile_names_are_text(page: Any, folder: Path) -> None:
    """Names of runs and classes, recipes and errors with markup in them are shown, and nothing of them runs."""
    for name in HOSTILE:
        shutil.copytree(folder / "first", folder / name.replace("/", "∕"))
        for file in ("data.json", "env.json"):
            path = folder / name.replace("/", "∕") / file
            known = json.loads(path.read_text())
            known |= {"name": name, "recipe": name, "classes": [f"{name}{i}" for i in range(10)], "notes": [name]}
            path.write_text(json.dumps(known))
    broken = folder / "<b onmouseover=window.hacked=1>broken"
    broken.mkdir()
    (broken / "spec.json").write_text(json.dumps({"<script>window.hacked=1</script>": {"kind": HOSTILE[0]}}))
    known = runs_of(page)
    hostile = [known[name.replace("/", "∕")] for name in HOSTILE]
    go(page, "runs")
    assert page.get_by_text(HOSTILE[0]).count() > 0
    for view in ("watch", "explore", "draw", "tour"):
        go(page, f"{view}/{hostile[0]}")
    for run in [*hostile[1:], known[broken.name]]:
        go(page, f"watch/{run}")
    go(page, f"compare?runs={','.join([known['first'], *hostile])}")
    assert page.evaluate("window.hacked") is None
    assert page.locator("main img[src=x], main script").count() == 0
    for name in (*(name.replace("/", "∕") for name in HOSTILE), broken.name):
        shutil.rmtree(folder / name)


def zooming_in_shows_the_rows_between(page: Any, folder: Path) -> None:
    """Of a long history a chart has some rows; where one zooms in it has all, and a double click takes them back."""
    long = shutil.copytree(folder / "first", folder / "long")
    rows = ({"split": "train", "step": step, "elbo": -100.0 - step % 7, "lr": 0.001} for step in range(1, 20_001))
    (long / "history.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    go(page, f"watch/{runs_of(page)['long']}")
    plot = page.locator(".curve .nsewdrag").first
    plot.scroll_into_view_if_needed()
    x = "document.querySelector('.js-plotly-plot').data[0].x"
    few = page.evaluate(f"{x}.length")
    assert few < 2000
    box = plot.bounding_box()
    middle = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + 0.50 * box["width"], middle)
    page.mouse.down()
    page.mouse.move(box["x"] + 0.54 * box["width"], middle, steps=8)
    page.mouse.up()
    page.get_by_text("of the steps").wait_for()
    beside = f"{x}.filter((step, i, all) => step - all[i - 1] === 1).length"
    until(lambda: page.evaluate(beside) > 500)
    page.mouse.dblclick(box["x"] + 0.52 * box["width"], middle)
    until(lambda: page.evaluate(f"{x}.length") == few)
    shutil.rmtree(long)


SERIOUS = ("serious", "critical")


def every_view_is_readable_by_everyone(page: Any, scheme: str, width: int) -> None:
    """axe-core finds no serious problem, and nothing is wider than the screen."""
    from axe_playwright_python.sync_playwright import Axe

    page.emulate_media(color_scheme=scheme)
    page.set_viewport_size({"width": width, "height": 900})
    runs = list(runs_of(page).values())
    of_a_run = (f"{view}/{runs[0]}" for view in ("watch", "explore", "draw", "tour"))
    for view in ("runs", "train", f"compare?runs={','.join(runs)}", *of_a_run):
        go(page, view)
        wide = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert wide <= 0, f"{view} is {wide} pixels wider than a screen of {width}"
        found = [one for one in Axe().run(page).response["violations"] if one["impact"] in SERIOUS]
        assert [(one["id"], [node["html"] for node in one["nodes"]][:3]) for one in found] == [], view


def test_one_visit_from_the_first_training_to_the_last_picture(page: Any, server: Server, folder: Path) -> None:
    """The chapters above, one after the other: each goes on where the one before has left the page and the runs."""
    a_model_is_trained_from_the_form_and_watched(page, folder)
    a_slider_and_the_map_change_what_is_decoded(page)
    two_anchors_make_a_way_that_plays(page)
    reload_keeps_the_view(page)
    a_digit_is_drawn_and_its_missing_part_filled_in(page)
    codes_and_report_are_taken_away(page)
    the_studio_ends_and_comes_back_and_trainings_go_on(page, server, folder)
    hostile_names_are_text(page, folder)
    zooming_in_shows_the_rows_between(page, folder)
    for scheme, width in itertools.product(("light", "dark"), (1280, 390)):
        every_view_is_readable_by_everyone(page, scheme, width)
