"""docs/lecture.md quotes code and numbers: each quoted line stands in the named function, each table is printed so."""

import ast
import importlib.util
import re
import textwrap
from pathlib import Path
from types import ModuleType

import pytest
import torch

from lowerbound import likelihood, nets, posterior, prior
from lowerbound.vae import VAE

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "lecture.md"
TEXT = PAGE.read_text()
FENCE = re.compile(r"(?P<before>[^\n]*)\n\n```python\n(?P<code>.*?)\n```", re.DOTALL)
NAMED = re.compile(r"^\[(?P<file>[^\]]+)\]\(\.\./(?P=file)\) · `(?P<name>[\w.]+)`$")
QUOTES = [(found["before"], found["code"]) for found in FENCE.finditer(TEXT)]


def source(file: str, name: str) -> str:
    """The text of a function or class, named as Class.function."""
    text = (ROOT / file).read_text()
    node: ast.AST = ast.parse(text)
    for part in name.split("."):
        defined = (ast.FunctionDef, ast.ClassDef)
        node = next(child for child in ast.iter_child_nodes(node) if isinstance(child, defined) and child.name == part)
    segment = ast.get_source_segment(text, node)
    assert segment is not None
    return segment


def stands_in(code: str, text: str) -> bool:
    """Whether the lines of code stand in text one after the other, whatever their indentation and comments."""

    def plain(lines: str) -> list[str]:
        stripped = [re.sub(r"\s+# .*", "", line.rstrip()) for line in textwrap.dedent(lines).splitlines()]
        return [line for line in stripped if line and not line.lstrip().startswith("#")]

    wanted, found = plain(code), plain(text)
    starts = range(len(found) - len(wanted) + 1)
    pieces = ("\n".join(found[start : start + len(wanted)]) for start in starts)
    return any(textwrap.dedent(piece) == "\n".join(wanted) for piece in pieces)


def questions() -> ModuleType:
    spec = importlib.util.spec_from_file_location("questions", ROOT / "examples" / "questions.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_block_of_code_is_a_quotation_that_was_found() -> None:
    assert len(QUOTES) == TEXT.count("```python\n") > 15


@pytest.mark.parametrize(("before", "code"), QUOTES, ids=[before.split("`")[-2] for before, _ in QUOTES])
def test_every_quoted_line_stands_in_the_named_function(before: str, code: str) -> None:
    named = NAMED.match(before)
    assert named, f"{before!r} names no file and function"
    assert stands_in(code, source(named["file"], named["name"])), f"{before}:\n{code}"


def test_the_check_of_quotations_can_fail() -> None:
    text = "def f(x):\n    y = x + 1  # one more\n    # then\n    if y:\n        return y\n"
    assert stands_in("y = x + 1\nif y:\n    return y", text)
    assert not stands_in("y = x + 2", text)
    assert not stands_in("y = x", text)
    assert not stands_in("y = x + 1\nreturn y", text)
    assert not stands_in("if y:\nreturn y", text)
    with pytest.raises(StopIteration):
        source("examples/nano.py", "BetaVAE.train_all")


def test_every_file_that_is_linked_exists() -> None:
    links = re.findall(r"\]\(([^)#]+)\)", TEXT)
    assert len(links) > 15
    assert [link for link in links if not (PAGE.parent / link).is_file()] == []


def test_the_gradients_are_those_of_section_5() -> None:
    torch.manual_seed(0)
    model = VAE(
        posterior.Gaussian(nets.ConvEncoder((1, 8, 8), (4,)), 3),
        prior.Standard(3),
        likelihood.Bernoulli(nets.ConvDecoder(3, (1, 8, 8), (4,))),
    ).double()
    x = torch.rand(1, 1, 8, 8, dtype=torch.float64)
    params = torch.randn(1, 6, dtype=torch.float64, requires_grad=True)
    mu, logvar = params.detach().chunk(2, dim=-1)
    sigma = torch.exp(0.5 * logvar)

    torch.manual_seed(1)
    z = model.posterior.dist(params).rsample()
    torch.manual_seed(1)
    eps = torch.randn_like(sigma)
    torch.testing.assert_close(z.detach(), mu + sigma * eps)

    px = model.likelihood(z)
    d = -px.log_prob(x).sum()
    logits = px.base_dist.logits
    by_logit, by_z, by_params = torch.autograd.grad(d, (logits, z, params))
    torch.testing.assert_close(by_logit, (logits.sigmoid() - x).detach())
    torch.testing.assert_close(by_params, torch.cat([by_z, by_z * 0.5 * sigma * eps], dim=-1))

    rate = torch.distributions.kl_divergence(model.posterior.dist(params), model.prior()).sum()
    torch.testing.assert_close(rate.detach(), (-0.5 * (1 + logvar - mu**2 - sigma**2)).sum())
    (by_params,) = torch.autograd.grad(rate, params)
    torch.testing.assert_close(by_params, torch.cat([mu, 0.5 * (sigma**2 - 1)], dim=-1))


def test_the_table_of_the_wrong_pixel_is_what_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    questions().wrong_pixel()
    assert capsys.readouterr().out.strip() in TEXT


def test_the_estimators_are_unbiased_and_as_far_apart_as_the_page_says(capsys: pytest.CaptureFixture[str]) -> None:
    torch.manual_seed(0)
    questions().linear_gaussian()
    printed = capsys.readouterr().out.strip()
    shown = next(block for block in re.findall(r"```text\n(.*?)\n```", TEXT, re.DOTALL) if "linear-Gaussian" in block)
    assert printed.splitlines()[0] == shown.splitlines()[0]
    for ours, theirs in zip(printed.splitlines()[1:], shown.splitlines()[1:], strict=True):
        off, variance, ratio = map(float, ours.split()[-3:])
        assert 0.3 < off < 2  # the root mean square of 16 standard normals
        # another processor may draw other last digits, not another size
        assert [variance, ratio] == pytest.approx([float(v) for v in theirs.split()[-2:]], rel=0.2)


def test_only_the_reparameterised_distortion_reaches_the_encoder_and_the_kl_never_the_decoder(
    capsys: pytest.CaptureFixture[str],
) -> None:
    torch.manual_seed(0)
    model = VAE(
        posterior.Gaussian(nets.ConvEncoder((1, 28, 28)), 16),
        prior.Standard(16),
        likelihood.Bernoulli(nets.ConvDecoder(16, (1, 28, 28))),
    )
    questions().who_learns(model, torch.rand(4, 1, 28, 28))
    rows = [line.split()[-2:] for line in capsys.readouterr().out.strip().splitlines()[1:]]
    assert [[cell == "none" for cell in row] for row in rows] == [[False, False], [True, False], [False, True]]
