"""What the page says where something is wrong, collapsed or over: in a real browser."""

import json
import shutil
from collections.abc import Iterator
from typing import Any

import pytest

from realbrowser import Server, browser, needed, until
from studiopage import trained

pytestmark = needed


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    folder = tmp_path_factory.mktemp("words") / "runs"
    run = trained(tmp_path_factory, "strong", folder / "collapsed")
    shutil.copytree(run, folder / "good")
    rows = [json.loads(line) for line in (run / "frames.jsonl").read_text().splitlines()]
    for row in rows:
        row["kl_by_dim"] = [0.02 for _ in row["kl_by_dim"]]
    (run / "frames.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    history = [json.loads(line) for line in (run / "history.jsonl").read_text().splitlines()]
    kept = [{name: value for name, value in row.items() if name != "kl_by_dim"} for row in history]
    (run / "history.jsonl").write_text("".join(json.dumps(row) + "\n" for row in kept))
    with Server(folder, 0) as server, browser(viewport={"width": 1280, "height": 900}) as one:
        one.goto(server.start())
        one.locator("table.runs").wait_for()
        yield one


def watched(page: Any, name: str) -> list[float]:
    """The ends of the colours of a run's heat map."""
    page.get_by_role("link", name="Runs", exact=True).click()
    page.get_by_role("link", name=name, exact=True).click()
    page.get_by_role("navigation", name="This run").get_by_role("link", name="Watch").click()
    script = "(e => e && [e.zmin, e.zmax, Math.max(...e.z.flat())])(document.querySelector('.tall')?.data?.[0])"
    page.locator(".tall").scroll_into_view_if_needed()  # a chart is drawn where it is seen
    found: list[float] = until(lambda: page.evaluate(script))
    return found


def test_a_collapsed_model_looks_unused(page: Any) -> None:
    assert watched(page, "collapsed") == [0, 0.5, 0.02]
    zero, top, most = watched(page, "good")
    assert (zero, top) == (0, max(most, 0.5))


def test_a_wrong_value_hides_the_plan_and_is_said_in_the_form_s_words(page: Any) -> None:
    page.get_by_role("link", name="Train", exact=True).click()
    page.get_by_label("Data", exact=True).select_option("digits")
    copy = page.locator(".plan").get_by_role("button", name="Copy")
    copy.wait_for()
    for label, words in (("β", "β (--beta) is -1: "), ("Epochs", "Epochs: train.epochs is -1")):
        page.get_by_label(label, exact=True).fill("-1")
        page.locator(".plan p.problem").wait_for()
        assert page.locator(".plan p.problem").inner_text().startswith(words)
        assert not copy.is_visible()
        page.get_by_label(label, exact=True).fill("2")
        copy.wait_for()
    assert page.locator(".plan p.problem").count() == 0


def test_what_was_said_of_one_view_is_not_said_on_the_next(page: Any) -> None:
    page.get_by_role("link", name="Runs", exact=True).click()
    page.locator("table.runs").wait_for()
    page.evaluate("import('/static/lib/dom.js').then(({ say }) => say('good: finished'))")
    page.wait_for_timeout(1100)
    assert page.locator("#said").inner_text() == "good: finished"
    page.get_by_role("link", name="Train", exact=True).click()
    page.get_by_role("heading", name="Train", exact=True).wait_for()
    assert page.locator("#said").inner_text() == ""
