"""The pages of the axes are those that docs/make.py makes, what they say of compositions is so, and links lead on."""

import importlib.util
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from lowerbound import compose, recipes, spec
from test_product import composed, expected

DOCS = Path(__file__).parent.parent / "docs"
loaded = importlib.util.spec_from_file_location("make", DOCS / "make.py")
assert loaded is not None
assert loaded.loader is not None
make = importlib.util.module_from_spec(loaded)
loaded.loader.exec_module(make)
TRIED = "## What composes with what"


def read(name: str) -> str:
    return (DOCS / f"{name}.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", make.MAKERS)
def test_a_page_is_current(name: str) -> None:
    """But for what composes with what, which takes its time to be tried: see the next test."""
    if name not in make.PAGES:
        assert read(name) == make.MAKERS[name](), f"run: python docs/make.py {name}"
        return
    _, mark, tried = read(name).partition(TRIED)
    assert read(name) == make.page(name, (mark + tried).rstrip("\n")), "run: python docs/make.py"


def cells(name: str) -> Iterator[tuple[dict[str, str], str | None]]:
    """Give each composition that a page tells of, with the words that refuse it or None."""
    axis = name.removesuffix("s")
    for head, body, rest in re.findall(
        r"^\| (prior|what is minimised) \|(.*(?:\n\|.*)*)\n((?:\n(?!\| ).*)*)", read(name), re.M
    ):
        rows = [[cell.strip() for cell in line.strip("| ").split(" | ")] for line in body.split("\n")]
        words = dict(re.findall(r"^(\d+)\. (.*)$", rest, re.M))
        kinds = [cell.strip("` ") for cell in body.split("\n")[0].strip("| ").split("|")]
        for row in rows[2:]:
            found = re.match(r"`([\w-]+)`( \(term\))?", row[0])
            assert found is not None
            goal = f"term {found[1]}" if found[2] else found[1]
            for kind, cell in zip(kinds, row[1:], strict=True):
                number = re.fullmatch(r"\[(\d+)\]", cell)
                assert number or cell == "✓"
                yield {axis: kind, "prior" if head == "prior" else "goal": goal}, words[number[1]] if number else None


@pytest.mark.parametrize("name", ["posteriors", "priors", "likelihoods"])
def test_what_composes_with_what_is_so(name: str) -> None:
    """A ✓ is where the product of the axes trains; each refusal is said in the words that are really given."""
    axis, seen = name.removesuffix("s"), set()
    told = list(cells(name))
    goals = len(make.goals()) + (len(spec.REGISTRIES["prior"]) if name == "posteriors" else 0)
    assert len(told) == len(spec.REGISTRIES[axis]) * goals
    for choice, words in told:
        assert bool(expected(choice)) == (words is not None), choice
        if words is not None and words not in seen:
            seen.add(words)
            assert compose.attempt(composed(choice)) == words, "run: python docs/make.py"


def test_every_kind_has_its_section_with_its_arguments() -> None:
    for name, (_, _, registries) in make.PAGES.items():
        for registry, _ in registries:
            for kind in spec.REGISTRIES[registry]:
                assert f"### `{kind}`" in read(name)
                for field in spec.describe(registry, kind):
                    assert f"| `{field.name}` |" in read(name)
    assert set(re.findall(r"^### `(.*)`$", read("recipes"), re.M)) == set(recipes.RECIPES)


def test_a_docstring_becomes_markdown() -> None:
    doc = (
        "One line.\n\n.. math:: a \\le b,\n    \\quad c\n\nSome ``code``.\n\nReference: A paper (X, 2020).\n\n"
        "Arguments:\n    a: of it.\n\nExample:\n    >>> 1 + 1\n    2"
    )
    text = make.prose(doc)
    assert "```math\na \\le b,\n\\quad c\n```" in text
    assert "*Reference:* A paper (X, 2020)." in text
    assert "```python\n>>> 1 + 1\n2\n```" in text
    assert "of it" not in text
    assert "Some `code`." in text


def test_the_links_of_a_page_lead_somewhere() -> None:
    for path in DOCS.glob("*.md"):
        text = path.read_text(encoding="utf-8")
        for link in re.findall(r"\]\((?!https?:)([^)]+)\)", text):
            where, _, anchor = link.partition("#")
            assert (DOCS / where).exists(), link
            if anchor and not where:
                assert f"`{anchor}`" in text.lower(), link  # an anchor is in small letters
