"""The page: one HTML document with everything inside it, for a student, a researcher and an engineer."""

import base64
import hashlib
import json
from collections.abc import Sequence
from html import escape
from importlib import resources
from pathlib import Path

from lowerbound import files
from lowerbound.report.boxes import boxes
from lowerbound.report.content import Content
from lowerbound.report.evaluation import findings, sections
from lowerbound.report.latents import latents
from lowerbound.report.markup import terms
from lowerbound.report.measured import cards, reading, table, training
from lowerbound.report.pictures import gallery
from lowerbound.report.story import story
from lowerbound.words import counted

SCRIPT = """
for (const block of document.querySelectorAll(".command")) {
  const button = document.createElement("button");
  button.type = "button";
  button.textContent = "Copy";
  button.addEventListener("click", async () => {
    const code = block.querySelector("code");
    try {
      await navigator.clipboard.writeText(code.textContent);
      button.textContent = "Copied";
    } catch {
      getSelection().selectAllChildren(code);
      button.textContent = "Selected";
    }
    setTimeout(() => { button.textContent = "Copy"; }, 1500);
  });
  block.append(button);
}
"""
DIGEST = base64.b64encode(hashlib.sha256(SCRIPT.encode()).digest()).decode()
POLICY = (
    f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{DIGEST}'; "
    "base-uri 'none'; form-action 'none'"
)


def write(path: Path | str, content: Content) -> Path:
    """Write the page, all or nothing."""
    files.write(Path(path), html(content).encode())
    return Path(path)


def html(content: Content) -> str:
    """Make the page: a whole HTML document that refers to nothing outside itself.

    Example:
        >>> page = html(Content("run-1", "runs/run-1", {}, {"name": "<b>"}, {}, [], {}))
        >>> "&lt;b&gt;" in page, "<b>" in page.split("</style>")[1].split("</header>")[0]
        (True, False)
    """
    parts = (cards, story, boxes, findings, table, training, latents, sections, gallery, reading, _commands, _details)
    version = (content.env.get("versions") or content.env).get("lowerbound", "")
    return document(content.name, _subtitle(content), "".join(part(content) for part in parts), str(version))


def document(name: str, lead: str, body: str, version: str, more: str = "") -> str:
    """Put what stands in a page into a document that runs no script but ours and loads nothing.

    Arguments:
        name: its title.
        lead, body: HTML already.
        version: of lowerbound.
        more: further style.
    """
    style = resources.files("lowerbound").joinpath("report.css").read_text("utf-8") + more
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{POLICY}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="referrer" content="no-referrer">
<title>{escape(name)} · lowerbound</title>
<style>{style}</style>
</head>
<body>
<header><h1>{escape(name)}</h1><p class="lead">{lead}</p></header>
<main>
{body}
</main>
<footer>Made by lowerbound {escape(version)}.
This page is one file and loads nothing from anywhere.</footer>
<script>{SCRIPT}</script>
</body>
</html>
"""


def _subtitle(c: Content) -> str:
    parts = [
        c.data.get("name"),
        c.recipe and f"recipe {c.recipe}",
        counted(c.spec["latents"], "latent") if "latents" in c.spec else None,
    ]
    return escape(" · ".join(str(p) for p in parts if p))


def _commands(c: Content) -> str:
    return commands(c.commands)


def commands(some: Sequence[tuple[str, str]]) -> str:
    """List commands, each with what it does."""
    if not some:
        return ""
    blocks = "".join(
        f'<div class="command"><p>{escape(what)}</p><pre><code>{escape(command)}</code></pre></div>'
        for what, command in some
    )
    return f"<h2>Go on from here</h2>{blocks}"


def _details(c: Content) -> str:
    seconds, citation = c.metrics.get("seconds") or {}, c.citation
    data = {k: v for k, v in c.data.items() if k not in ("notes", "unreadable")}
    run = {"directory": c.path, "recipe": c.recipe or "none", **{f"seconds, {k}": v for k, v in seconds.items()}}
    blocks = [
        (
            "The whole spec",
            f"<pre><code>{escape(json.dumps(c.spec, indent=2, ensure_ascii=False, default=str))}</code></pre>",
        ),
        ("Data", terms(data)),
        ("Environment", terms({**run, **c.env})),
    ]
    text = "".join(f"<details><summary>{title}</summary>{inner}</details>" for title, inner in blocks)
    cite = f"<h2>Cite</h2><p>{escape(citation)}</p>" if citation else ""
    return f"{cite}<h2>Everything else</h2>{text}"
