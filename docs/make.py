"""The pages of the axes, from the docstrings, so that nothing in them was typed twice.

python docs/make.py            # rewrites posteriors.md, priors.md, likelihoods.md, objectives.md, networks.md,
                               # recipes.md and metrics.md
python docs/make.py metrics    # rewrites this one

A test holds the pages against what this makes. What composes with what is tried, not claimed: each pair is trained for
two steps and evaluated, or refused in words (`lowerbound.compose`).
"""

import inspect
import json
import re
import sys
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

from lowerbound import compose, metrics, recipes, spec

HERE = Path(__file__).parent
MADE = "<!-- made by docs/make.py from the docstrings: change these, and run it -->"
# page -> its title, what it says first, and (registry, heading) of what it lists
PAGES: dict[str, tuple[str, str, list[tuple[str, str]]]] = {
    "posteriors": (
        "Posteriors",
        "q(z|x): a network, then a family. Chosen by `--set model.posterior.kind=…`, or built from "
        "`lowerbound.posterior`.",
        [("posterior", "")],
    ),
    "priors": (
        "Priors",
        "p(z), of the same space as the posterior. Chosen by `--set model.prior.kind=…`, or built from "
        "`lowerbound.prior`. Those that are fitted to the codes after the training stand at the end: `--set "
        "fit.kind=…`.",
        [("prior", ""), ("fit", "Fitted to the codes afterwards")],
    ),
    "likelihoods": (
        "Likelihoods",
        "p(x|z): a network, then a family over pixels. Chosen by `--set model.likelihood.kind=…`, or built from "
        "`lowerbound.likelihood`.",
        [("likelihood", "")],
    ),
    "objectives": (
        "Objectives, terms and weights",
        "What is minimised. An objective reduces a trace; the elbo is a sum of terms, `objective.terms.NAME.kind=…`; "
        "the weight of a term is a number or one of the weights below. What is logged is the bound or the plain "
        "quantity, never a surrogate.",
        [("objective", ""), ("term", "Terms"), ("weight", "Weights")],
    ),
    "networks": (
        "Networks",
        "Of the posterior (encoders) and of the likelihood (decoders), for any size of image. Chosen by `--set "
        "model.posterior.net.kind=…` and `--set model.likelihood.net.kind=…`; any module of the same shapes serves.",
        [("encoder", "Encoders"), ("decoder", "Decoders")],
    ),
}


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Write a Markdown table; a bar inside a cell is escaped, as one that parts cells must not be."""
    lines = [[cell.replace("|", "\\|") for cell in row] for row in [head, *rows]]
    lines.insert(1, ["---"] * len(head))
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def prose(doc: str) -> str:
    """Turn a docstring into Markdown: its mathematics, its example; its arguments have a table of their own."""
    doc = doc.replace("``", "`").replace("\\*", "*")
    doc = re.sub(r"^Arguments:\n(?:[ ]+.*\n?|\n)+", "", doc, flags=re.M)
    doc = re.sub(r"^\.\. math::(.*(?:\n(?:[ ]{4}.*))*)", _formula, doc, flags=re.M)
    doc = re.sub(r"^Example:\n((?:[ ]+.*\n?|\n)+)", _example, doc, flags=re.M)
    doc = re.sub(r"^Reference: ", "*Reference:* ", doc, flags=re.M)
    return re.sub(r"\n{3,}", "\n\n", doc).strip()


def _formula(match: re.Match[str]) -> str:
    return f"```math\n{inspect.cleandoc(match[1].strip())}\n```"


def _example(match: re.Match[str]) -> str:
    return f"```python\n{inspect.cleandoc(match[1])}\n```\n"


def first(thing: Callable[..., Any]) -> str:
    """Give the first sentence of a docstring."""
    return inspect.cleandoc(thing.__doc__ or "").split("\n\n")[0].replace("\n", " ").replace("``", "`")


def arguments(registry: str, kind: str) -> str:
    """Write the table of a kind's arguments; empty where it has none."""
    rows = []
    for field in spec.describe(registry, kind):
        default = "needed" if field.required else f"`{json.dumps(field.default, ensure_ascii=False)}`"
        type_ = f"a node: {field.node}" if field.node and field.type == "Module" else field.type
        rows.append([f"`{field.name}`", type_, default, field.help])
    return table(["argument", "type", "default", "what it is"], rows) if rows else ""


def member(registry: str, kind: str) -> str:
    """Write the section of one kind."""
    thing = spec.REGISTRIES[registry][kind]
    parts = [f"### `{kind}`", prose(inspect.cleandoc(thing.__doc__ or "")), arguments(registry, kind)]
    return "\n\n".join(part for part in parts if part)


def listed(registry: str, heading: str) -> str:
    """Write a registry: a table of its kinds, then each."""
    rows = [[f"[`{kind}`](#{kind})", first(thing)] for kind, thing in spec.REGISTRIES[registry].items()]
    head = [f"## {heading}"] if heading else []
    kinds = [member(registry, kind) for kind in spec.REGISTRIES[registry]]
    return "\n\n".join([*head, table(["kind", "what it is"], rows), *kinds])


def goals() -> dict[str, dict[str, str]]:
    """Name everything that can be minimised: each objective, and each term beside distortion and KL in the elbo."""
    objectives = {kind: {"objective": kind} for kind in spec.REGISTRIES["objective"]}
    terms = {f"{kind} (term)": {"term": kind} for kind in spec.REGISTRIES["term"] if kind != "distortion"}
    return objectives | terms


def composition(axis: str, others: dict[str, dict[str, str]], title: str) -> str:
    """Try each kind of an axis with each of some choices; write the table, and the words of those that are refused."""
    kinds, notes, rows, images = list(spec.REGISTRIES[axis]), [], [], compose.source()
    for name, choice in others.items():
        cells = []
        for kind in kinds:
            words = compose.attempt(compose.small(**{axis: kind, **choice}), images)
            if words is not None and words not in notes:
                notes.append(words)
            cells.append("✓" if words is None else f"[{notes.index(words) + 1}]")
        rows.append([f"`{name}`" if " " not in name else f"`{name.split()[0]}` {name.split()[1]}", *cells])
    refused = "\n".join(f"{i}. {words}" for i, words in enumerate(notes, 1))
    text = table([title, *(f"`{kind}`" for kind in kinds)], rows)
    return text + (f"\n\nRefused, in these words:\n\n{refused}" if notes else "\n\nNone is refused.")


def compositions(page: str) -> str:
    """Write what composes with the members of a page's axis."""
    intro = (
        "Each pair was built small, trained for two steps and evaluated: ✓, or the number of the words that refuse it."
    )
    if page == "posteriors":
        priors = {kind: {"prior": kind} for kind in spec.REGISTRIES["prior"]}
        tables = [composition("posterior", priors, "prior"), composition("posterior", goals(), "what is minimised")]
    elif page == "priors":
        tables = [composition("prior", goals(), "what is minimised")]
    elif page == "likelihoods":
        tables = [composition("likelihood", goals(), "what is minimised")]
    else:
        return ""
    return "\n\n".join(["## What composes with what", intro, *tables])


def page(name: str, tried: str | None = None) -> str:
    """Write a page of an axis; ``tried`` stands for what composes with what, where that was tried before."""
    title, lead, registries = PAGES[name]
    listing = [listed(registry, heading) for registry, heading in registries]
    parts = [MADE, f"# {title}", lead, *listing, compositions(name) if tried is None else tried]
    return "\n\n".join(part for part in parts if part) + "\n"


def recipe_page() -> str:
    """Write the page of the recipes."""
    rows = [[f"[`{name}`](#{name})", r.about, r.citation] for name, r in recipes.RECIPES.items()]
    lead = (
        "Published models as arguments: `lowerbound train --recipe NAME`, and `--set` over it. Each is what it sets "
        "over the default spec, the paper, and what to expect."
    )
    parts = [MADE, "# Recipes", lead, table(["recipe", "what it is", "paper"], rows)]
    for name, r in recipes.RECIPES.items():
        sets = json.dumps(r.sets, indent=1, ensure_ascii=False) if r.sets else "nothing: it is the default"
        parts += [
            f"### `{name}`",
            f"{r.about[0].upper() if r.about[0].isascii() else r.about[0]}{r.about[1:]}.",
            f"*Reference:* {r.citation}.",
            f"*Expect:* {r.expect}",
        ]
        parts += [f"Sets:\n\n```json\n{sets}\n```" if r.sets else f"Sets {sets}."]
    return "\n\n".join(parts) + "\n"


def metrics_page() -> str:
    """Write the page of the measures: a section for each file of `lowerbound.metrics`, a part for each of its names."""
    lead = (
        "Plain functions, tensors in and numbers out, usable without the rest of the library: `from lowerbound import "
        "metrics`. A model of your own takes part by implementing `lowerbound.Model`. `lowerbound evaluate RUN` calls "
        "them and puts what they give into words, tables and pictures."
    )
    by_file: dict[str, list[str]] = {}
    for name, thing in vars(metrics).items():
        if not name.startswith("_") and callable(thing):
            by_file.setdefault(thing.__module__, []).append(name)
    parts = [MADE, "# Measures", lead]
    rows = [
        [f"[`{name}`](#{name.lower()})", first(vars(metrics)[name])] for names in by_file.values() for name in names
    ]
    parts.append(table(["name", "what it does"], rows))
    for module, names in by_file.items():
        parts.append(f"## {inspect.cleandoc(import_module(module).__doc__ or '').splitlines()[0].rstrip('.')}")
        for name in names:
            thing = vars(metrics)[name]
            doc = inspect.cleandoc(thing.__doc__ or "")
            found = re.search(r"^Arguments:\n((?:[ ]+.*\n?|\n)+)", doc, flags=re.M)
            listed = re.sub(r"^([\w, ]+): ", r"* `\1`: ", inspect.cleandoc(found[1]), flags=re.M) if found else ""
            parts += [f"### `{name}`", prose(doc), listed.replace("``", "`")]
    return "\n\n".join(part for part in parts if part) + "\n"


# every page, by what makes it
MAKERS: dict[str, Callable[[], str]] = {
    **{name: partial(page, name) for name in PAGES},
    "recipes": recipe_page,
    "metrics": metrics_page,
}


if __name__ == "__main__":
    for name in sys.argv[1:] or MAKERS:
        (HERE / f"{name}.md").write_text(MAKERS[name](), encoding="utf-8")
        print(HERE / f"{name}.md")
