"""The benchmarks' page says what their result files say, and each of these says how it was made."""

import importlib.util
import json
import re
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent.parent / "benchmarks"
RESULTS = sorted((FOLDER / "results").glob("*.json"))
spec = importlib.util.spec_from_file_location("tables", FOLDER / "tables.py")
assert spec is not None
assert spec.loader is not None
tables = importlib.util.module_from_spec(spec)
spec.loader.exec_module(tables)


def test_the_tables_are_those_of_the_result_files() -> None:
    page = (FOLDER / "README.md").read_text()
    assert tables.render(page) == page
    assert {path.stem for path in RESULTS} == {match[1] for match in tables.MARK.finditer(page)}


@pytest.mark.parametrize("path", RESULTS, ids=lambda path: path.stem)
def test_a_result_says_how_it_was_made(path: Path) -> None:
    env = json.loads(path.read_text())["env"]
    assert env["command"].startswith("python benchmarks/")
    assert (FOLDER.parent / env["command"].split()[1]).is_file()
    for name in ("started", "threads", "flags", "machine", "versions"):
        assert env[name], name
    assert "/" not in env["command"].split()[0]


def test_every_plot_is_there_and_shown() -> None:
    plots = {path.name for path in (FOLDER / "results").glob("*.png")}
    shown = {
        match[1] for match in re.finditer(r"!\[[^]]+\]\(results/([\w-]+\.png)\)", (FOLDER / "README.md").read_text())
    }
    drawn = set(re.findall(r'^    "([\w-]+)": \w+,$', (FOLDER / "plots.py").read_text(), re.M))
    assert plots == shown == {f"{name}.png" for name in drawn}
    assert len(plots) >= 6
