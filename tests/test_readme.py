"""What the README shows runs: its Python blocks, its commands' names, its links, its table."""

import re
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```", README, re.S)


def test_the_python_blocks_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    scope: dict[str, object] = {}
    for block in BLOCKS:
        exec(block.replace("epochs=1", "epochs=0.02"), scope)
    images = scope["images"]
    assert isinstance(images, torch.Tensor)
    assert images.shape == (64, 1, 28, 28) == scope["samples"].shape  # type: ignore[attr-defined]
    assert images.aminmax().min >= 0
    assert images.aminmax().max <= 1
    assert len(re.findall(r"-\d", capsys.readouterr().out)) >= 2


def test_every_verb_is_in_the_table_and_every_command_is_a_verb() -> None:
    from lowerbound import cli

    verbs = {cls.__name__.lower() for cls in cli.Verb.__args__}
    table = set(re.findall(r"^\| `(\w+)", README, re.M))
    assert table == verbs
    assert set(re.findall(r"^    lowerbound (\w+)", README, re.M)) <= verbs


def test_options_in_the_readme_exist() -> None:
    from dataclasses import fields

    from lowerbound import cli

    known = {f"--{field.name}" for cls in cli.Verb.__args__ for field in fields(cls)} | {
        "--help",
        "--debug",
        "--version",
    }
    assert set(re.findall(r"(?<![\w-])--[a-z]+", README)) <= known


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md", "docs/design.md"])
def test_links_lead_somewhere(name: str) -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]+)", (ROOT / name).read_text())
    assert [link for link in links if not (ROOT / name).parent.joinpath(link).exists()] == []
