"""The model card of a run: README.md in its directory, for whoever finds it later."""

import json
from typing import TYPE_CHECKING, Any

from lowerbound import files
from lowerbound.metrics import headline
from lowerbound.words import noun, with_error

if TYPE_CHECKING:
    from lowerbound.run import Run


def write_card(run: "Run") -> None:
    """Write README.md: what was trained, on what, how good it is, from which weights, and how to use it."""
    files.write(run.path / "README.md", card(run).encode())


def card(run: "Run") -> str:
    """Give the model card as Markdown."""
    metrics, data, env = run.metrics, run.data, run.env
    split = "test" if "test" in metrics else "validation"
    likelihood = metrics["likelihood"]
    note = f" The distortion is {likelihood['note']}." if likelihood["note"] else ""
    shape, called = "×".join(map(str, data["shape"])), noun(data["shape"])
    lines = [
        f"# {run.path.name}",
        "",
        f"A variational autoencoder ({env['recipe']}) with {run.spec['latents']} latents, trained with lowerbound "
        f"{env['versions']['lowerbound']} on {data['name']}: {data['images']['train']:,} {called} of {shape}.",
        "",
        *_table(metrics.get(split), split, called),
        "",
        f"Figures are from the {run.weights_note}, in nats per example, ± one standard error over {called}.{note}",
        "",
        "```python",
        "import lowerbound",
        "",
        f"run = lowerbound.load({str(run.path)!r})",
        "run.model.sample(64)",
        "```",
        "",
        f"Trained by `{env['command']}` from seed {run.spec['seed']}.",
        "The weights and what is sampled from them belong to whoever trained them; the data keep their own licence.",
        "",
        "## Spec",
        "",
        "```json",
        json.dumps(run.spec, indent=1, ensure_ascii=False),
        "```",
        "",
    ]
    return "\n".join(lines)


def _table(figures: dict[str, Any] | None, split: str, called: str) -> list[str]:
    if figures is None:
        return ["No held-out split was kept, so nothing was measured."]
    rows = [f"| {split}, {figures['images']:,} {called} | nats |", "|---|---|"]
    errors = figures["standard_error"]
    rows += [f"| {name} | {with_error(figures[name], errors.get(name))} |" for name in headline(figures)]
    if figures["active"] is None:
        return rows
    return [*rows, f"| latents in use | {figures['active']} of {figures['latents']} |"]
