"""The map, the decoded image and the easel under a person's hands, in a real browser."""

import base64
import io
import time
from collections.abc import Iterator
from typing import Any

import pytest
from PIL import Image

from realbrowser import Server, browser, free_port, needed, until
from studiopage import shelf

pytestmark = needed
STAGE, DECODED = ".map-stage", ".explore canvas.pixels"


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A browser that was let in to a studio of one run."""
    with (
        Server(shelf(tmp_path_factory, digits="weak"), free_port()) as server,
        browser(viewport={"width": 1280, "height": 900}) as one,
    ):
        one.goto(server.start())
        one.run = one.evaluate("fetch('/api/runs').then(r => r.json()).then(found => found.runs[0].id)")
        one.studio = one.url.split("#")[0]
        yield one


def go(page: Any, view: str, state: str = "") -> None:
    """Go to a view, anew."""
    page.goto("about:blank")
    page.goto(f"{page.studio}#/{view}/{page.run}{state}")
    page.locator(".map-class").first.wait_for()
    until(lambda: page.locator("main .busy").count() == 0)


def here(page: Any) -> str:
    found: str = page.evaluate("location.href")
    return found


def pixels(page: Any, selector: str) -> str:
    found: str = page.eval_on_selector(selector, "canvas => canvas.toDataURL()")
    return found


def middle(page: Any) -> tuple[float, float]:
    page.locator(STAGE).scroll_into_view_if_needed()
    box = page.locator(STAGE).bounding_box()
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


def test_a_click_is_taken_though_the_pointer_moves_on_before_the_answers(page: Any) -> None:
    go(page, "explore")
    page.route("**/map/below", lambda route: (time.sleep(0.3), route.continue_()))
    x, y = middle(page)
    page.mouse.move(x - 40, y)
    page.mouse.click(x, y)
    page.mouse.move(x + 40, y + 20, steps=5)
    assert until(lambda: page.locator(".anchors li").count() == 1, 10)
    page.unroute("**/map/below")


def test_what_lies_under_the_map_is_changed_and_the_place_and_the_keyboard_stay(page: Any) -> None:
    go(page, "explore")
    page.locator(STAGE).focus()
    for key in ("+", "+", "Shift+ArrowRight"):
        page.keyboard.press(key)
    until(lambda: "zoom=" in here(page))
    zoom = here(page).split("zoom=")[1].split("&")[0]
    points = pixels(page, f"{STAGE} canvas:nth-of-type(2)")
    page.get_by_label("Under it").focus()
    page.get_by_label("Under it").select_option("codes")
    page.get_by_text("smoothed by a Gaussian").wait_for()
    assert here(page).split("zoom=")[1].split("&")[0] == zoom
    assert pixels(page, f"{STAGE} canvas:nth-of-type(2)") == points
    page.get_by_label("Plane").focus()
    page.get_by_label("Plane").select_option("pca")
    page.get_by_label("Across").wait_for(state="detached")
    until(lambda: page.locator("main .busy").count() == 0)
    assert page.evaluate("document.activeElement.getAttribute('aria-label')") == "Plane"
    assert "zoom=" not in here(page)  # of another plane


def test_the_points_rest_where_the_view_has_them(page: Any) -> None:
    go(page, "explore")
    second = f"{STAGE} canvas:nth-of-type(2)"
    before, (x, y) = pixels(page, second), middle(page)
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + 60, y + 30, steps=6)
    page.mouse.up()
    rest = "canvas => canvas.style.transform"
    until(lambda: pixels(page, second) != before and page.eval_on_selector(second, rest) == "")
    page.get_by_role("button", name="Show all of the map").click()
    assert until(lambda: pixels(page, second) == before and page.eval_on_selector(second, rest) == "")


def test_the_decoded_image_is_shown_with_the_noise_of_its_likelihood(page: Any) -> None:
    go(page, "explore")
    mean = pixels(page, DECODED)
    toggle = page.locator(".seen").get_by_label("with the noise")
    toggle.check()
    until(lambda: pixels(page, DECODED) != mean)
    page.get_by_text("a draw from p(x|z)").wait_for()
    drawn = pixels(page, DECODED)
    go(page, "explore", "?draw=1")
    assert until(lambda: pixels(page, DECODED) == drawn)
    page.locator(".seen").get_by_label("with the noise").uncheck()
    assert until(lambda: pixels(page, DECODED) == mean)


GIVEN = """({kind, data, type}) => {
  const files = new DataTransfer();
  files.items.add(new File([Uint8Array.from(atob(data), (c) => c.charCodeAt(0))], "file", {type}));
  const how = {bubbles: true, cancelable: true};
  const event = kind === "paste"
    ? new ClipboardEvent(kind, {...how, clipboardData: files})
    : new DragEvent(kind, {...how, dataTransfer: files});
  document.querySelector("h1").dispatchEvent(event);
  return event.defaultPrevented;
}"""


@pytest.mark.parametrize("kind", ["paste", "drop"])
def test_a_picture_is_pasted_or_dropped_anywhere_on_the_page(page: Any, kind: str) -> None:
    page.evaluate("sessionStorage.clear()")  # no drawing of before, whose answers would come between
    go(page, "draw")
    file = io.BytesIO()
    picture = Image.new("L", (40, 40))
    picture.paste(255, (15, 5, 22, 35))
    picture.save(file, "PNG")
    data = base64.b64encode(file.getvalue()).decode()
    assert page.evaluate(GIVEN, {"kind": kind, "data": data, "type": "text/plain"})
    page.get_by_text("This is no picture").wait_for()
    assert page.get_by_role("img", name="Its reconstruction").count() == 0
    assert page.evaluate(GIVEN, {"kind": kind, "data": data, "type": "image/png"})
    page.get_by_role("img", name="Its reconstruction").wait_for()


def test_the_posterior_s_table_has_its_headings_over_its_columns(page: Any) -> None:
    go(page, "draw", "?row=1")
    page.locator("table.latents td").first.wait_for()
    edges = "all => all.map((one) => one.getBoundingClientRect().left)"
    heads = page.eval_on_selector_all("table.latents thead th", edges)
    assert heads == pytest.approx(page.eval_on_selector_all("table.latents tbody tr:first-child > *", edges), abs=1)
