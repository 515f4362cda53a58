"""A run's pictures: the verbs sample, reconstruct, traverse and interpolate, each giving a matplotlib figure."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from jaxtyping import Float, Int
from matplotlib.figure import Figure
from torch import Tensor

from lowerbound import explore, figures, recipes, report
from lowerbound.errors import UsageError
from lowerbound.metrics import headline
from lowerbound.metrics.aggregate import FLOOR
from lowerbound.run import Run
from lowerbound.words import noun, number


def is_image(run: Run) -> bool:
    """Whether the data are images (C, H, W) rather than vectors."""
    return len(run.data["shape"]) == 3


def held_out(run: Run) -> str:
    """Name the split that pictures show: test, or else validation, or else train."""
    sizes = run.data["images"]
    return next(split for split in ("test", "validation", "train") if sizes[split])


def shown(run: Run, rows: slice) -> tuple[Float[Tensor, "n *X"], Int[Tensor, " n"] | None]:
    """Give some images of the held-out split, binarised as the data are, and their labels."""
    split = run.source.part(held_out(run))
    device = next(run.model.parameters()).device
    labels = split.targets(rows.start, rows.stop)
    return split.images(rows.start, rows.stop).to(device), labels


def sample(run: Run, n: int = 64, *, seed: int = 0, temperature: float = 1.0, noise: bool = False) -> Figure:
    """Draw n new images from the prior (for vectors: points beside the data)."""
    with torch.inference_mode():
        count = n if is_image(run) else max(n, 1000)
        x = run.model.sample(count, seed=seed, temperature=temperature, noise=noise).cpu()
    if not is_image(run):
        data, _ = shown(run, slice(0, 1000))
        return figures.points(data.cpu(), x, ("held-out data", f"samples{_manner(temperature, noise)}"))
    title = f"{n:,} new {'image' if n == 1 else 'images'} from the prior{_manner(temperature, noise)}"
    return figures.grid(x, title=title)


def _manner(temperature: float, noise: bool) -> str:
    """Say how samples were drawn, where it is not the usual way."""
    cool = f" at temperature {temperature:g}" if temperature != 1 else ""
    return cool + (", drawn from p(x|z)" if noise else "")


def reconstruct(run: Run, n: int = 24) -> Figure:
    """Show held-out images above their reconstructions."""
    if not is_image(run):
        n = max(n, 1000)
    x, _ = shown(run, slice(0, n))
    with torch.inference_mode():
        y = run.model.reconstruct(x)
    if not is_image(run):
        return figures.points(x.cpu(), y.cpu(), ("held-out data", "reconstructions"))
    return figures.reconstructions(x.cpu(), y.cpu())


def latents_by_kl(run: Run) -> list[tuple[int, float | None]]:
    """Give the latents, those with the highest KL first, with that KL in nats where it is known for each.

    Of a run that is not finished it is that of its evaluation, or else of its newest validation.
    """
    kl = _measured(run).get("kl_by_dim")
    if kl is None:
        return [(i, None) for i in range(run.spec["latents"])]
    return sorted(enumerate(kl), key=lambda pair: -pair[1])


def unused(run: Run) -> set[int]:
    """Give the latents that have collapsed to the prior or are constant, as far as that was measured."""
    known = _measured(run)
    if "collapsed" in known:
        return {*known["collapsed"], *known.get("constant", [])}
    return {i for i, nats in enumerate(known.get("kl_by_dim") or []) if nats < FLOOR}


def _measured(run: Run) -> dict[str, Any]:
    """Give the figures of the held-out images: of the evaluation, or else of the newest validation."""
    if run.finished or run.evaluation:
        known = figures_of(run)
        if found := known.get("test") or known.get("validation"):
            return dict(found)
    return next((row for row in reversed(run.history) if row["split"] == "validation"), {})


def extent(run: Run, n: int = 500, *, data: bool = True) -> tuple[Float[Tensor, "D"], Float[Tensor, "D"]]:
    """Give the range that each latent comes to in n draws of the prior and, with ``data``, the first n codes."""
    points = [run.model.draw_latents(n, seed=0)]
    if data:
        size = min(n, run.data["images"][held_out(run)])
        blocks = (shown(run, slice(i, min(i + 100, size))) for i in range(0, size, 100))
        points.append(explore.embed(run.model, blocks)[0])
    return explore.extent(torch.cat(points))


def traverse(run: Run, latents: int = 10, *, image: int | None = None, reach: float = 2.5, steps: int = 11) -> Figure:
    """Move one latent at a time from -reach to +reach, those with the highest KL first."""
    if not is_image(run):
        raise UsageError("A traversal shows images, and these data are vectors: see lowerbound sample.")
    chosen = latents_by_kl(run)[:latents]
    values = torch.linspace(-reach, reach, steps)
    z = origin(run, image)
    rows = explore.traverse(run.model, z, [i for i, _ in chosen], values)
    labels = [f"z{i}" if kl is None else f"z{i} · {kl:.2f} nats" for i, kl in chosen]
    if image is None:
        return figures.traversal(rows.cpu(), labels, values=values)
    own = [int((values - float(z[i])).abs().argmin()) for i, _ in chosen]
    return figures.traversal(rows.cpu(), labels, values, f"From {held_out(run)} image, {_row(run, image)}", own)


def origin(run: Run, image: int | None = None) -> Float[Tensor, "D"]:
    """Give the latents to start from: a held-out image's code, or the middle of the prior; raises UsageError."""
    if image is None:
        middle: Tensor = run.model.draw_latents(1, seed=0, temperature=0.0)[0]
        return middle
    x, _ = shown(run, slice(image, image + 1))
    if not len(x):
        size = run.data["images"][held_out(run)]
        raise UsageError(f"There is no image {image} in the {held_out(run)} split of {size}.")
    with torch.inference_mode():
        return run.model.encode(x)[0].clone()


def interpolate(
    run: Run,
    pairs: Sequence[tuple[int, int]] | None = None,
    *,
    steps: int = 11,
    kind: Literal["linear", "spherical", "both"] = "both",
) -> Figure:
    """Walk between the codes of pairs of held-out images, along a line, an arc, or one above the other."""
    if not is_image(run):
        raise UsageError("An interpolation shows images, and these data are vectors: see lowerbound sample.")
    pairs = pairs or default_pairs(run)
    size = run.data["images"][held_out(run)]
    for i in {i for pair in pairs for i in pair}:
        if not 0 <= i < size:
            raise UsageError(f"There is no image {i} in the {held_out(run)} split of {size}.")
    ends = [torch.cat([shown(run, slice(i, i + 1))[0] for i in side]) for side in zip(*pairs, strict=True)]
    with torch.inference_mode():
        a, b = (run.model.encode(x) for x in ends)
    kinds: tuple[Literal["linear", "spherical"], ...] = ("linear", "spherical") if kind == "both" else (kind,)
    rows = torch.stack([explore.interpolate(a, b, steps, k) for k in kinds], dim=1).flatten(0, 1)
    labels = [f"{_row(run, i)} → {_row(run, j)}, {k}" for i, j in pairs for k in kinds]
    first, last = (x.repeat_interleave(len(kinds), dim=0).cpu() for x in ends)
    return figures.interpolation(explore.decode(run.model, rows).cpu(), labels, ends=(first, last))


def _row(run: Run, i: int) -> str:
    """Name a held-out image by its row, and by its class where it has one: a bare number reads as a digit."""
    _, labels = shown(run, slice(i, i + 1))
    classes = run.data.get("classes")
    if labels is None:
        return f"row {i}"
    return f"row {i} ({classes[int(labels)] if classes else int(labels)})"


def default_pairs(run: Run, count: int = 4) -> list[tuple[int, int]]:
    """Choose pairs of held-out images: the first ones of differing labels, or simply the first."""
    _, labels = shown(run, slice(0, 500))
    if labels is None or len(labels.unique()) < 2:
        size = run.data["images"][held_out(run)]
        return [(i, i + 1) for i in range(0, min(2 * count, size - 1), 2)] or [(0, 0)]
    first = {int(label): i for i, label in reversed(list(enumerate(labels)))}
    rows = [first[label] for label in sorted(first)]
    return list(zip(rows[::2], rows[1::2], strict=False))[:count]


def manifold(run: Run) -> Figure:
    """Decode a grid over the two latents of the model."""
    images, values = explore.manifold(run.model)
    return figures.manifold(images.cpu(), values)


def codes(run: Run, n: int = 10_000) -> Figure:
    """Show the codes of the first n held-out images, coloured by label: two latents as they are, more by PCA."""
    blocks = run.source.blocks(held_out(run))
    z, labels = explore.embed(run.model, blocks)
    z, labels = z[:n].cpu(), None if labels is None else labels[:n].cpu()
    classes = run.data.get("classes")
    if z.shape[1] == 1:
        z = torch.cat([z, torch.zeros_like(z)], dim=1)
        return figures.scatter(z, labels, classes, ("z0", ""))
    if z.shape[1] == 2:
        return figures.scatter(z, labels, classes, ("z0", "z1"))
    plane, shares = explore.pca(z)
    first, second = (f"component {i + 1} ({share:.0%} of the variance)" for i, share in enumerate(shares))
    return figures.scatter(plane, labels, classes, (first, second), title="PCA of the codes")


def pictures(run: Run) -> list[tuple[str, str, str, Callable[[], Figure]]]:
    """List the pictures that suit the run: file name, title, caption, and what makes each."""
    split, what = held_out(run), noun(run.data["shape"])
    some = [
        ("samples", "New samples", "z is drawn from the prior and decoded: p(x|z)'s mean.", lambda: sample(run)),
        ("reconstructions", "Reconstructions", f"{what.capitalize()} of the {split} split, and what their codes decode "
         "to.", lambda: reconstruct(run)),
        ("codes", "The latent space", f"The codes of the {split} {what}, at most 10,000.",
         lambda: codes(run)),
    ]  # fmt: skip
    if is_image(run):
        some += [
            ("traversal", "One latent at a time", "Latents with the highest KL first, or in their own order "
             "where no KL of each is known; all others stay at the prior's middle. A collapsed latent changes "
             "nothing.", lambda: traverse(run)),
            ("interpolation", "From one image to another", "Between the codes of two images: along a line, and along "
             "an arc, which does not cut through the middle. At both ends stand the images themselves.",
             lambda: interpolate(run)),
        ]  # fmt: skip
        if run.spec["latents"] == 2:
            some.append(
                ("manifold", "The whole latent plane", "Each cell has the same probability under N(0, I).",
                 lambda: manifold(run))
            )  # fmt: skip
    return some


def write(run: Run) -> Path:
    """Make the run's figures, its report.html and, of a finished one, its model card; gives the report's path."""
    from lowerbound.card import write_card

    run.figures.mkdir(exist_ok=True)
    figures.save(figures.curves(run.history), run.figures / "curves.png", note="every logged step")
    for name, _, _, make in pictures(run):
        figures.save(make(), run.figures / f"{name}.png", note=run.weights_note)
    if run.finished:
        write_card(run)
    return page(run, drawn=True)


def page(run: Run, *, drawn: bool = False) -> Path:
    """Write report.html of the pictures and figures that are there; gives its path.

    Of a run that is not finished pictures are shown where they were ``drawn`` just now: others may be of other weights.
    """
    shown = [
        report.Picture(title, f"{caption} From the {run.weights_note}.", run.figures / f"{name}.png")
        for name, title, caption, _ in (pictures(run) if drawn or run.finished else [])
    ]
    return report.write(run.path / "report.html", content(run, shown))


def figures_of(run: Run) -> dict[str, Any]:
    """Give the figures of a finished run; of another those that ``lowerbound evaluate`` found of its newest checkpoint.

    Raises StorageError where there are no weights yet.
    """
    if run.finished:
        return run.metrics
    found: dict[str, Any] = {"weights": run.weights}
    for split, kept in run.evaluation.items():
        if values := kept["sections"].get("ledger", {}).get("values"):
            found |= {split: values, "likelihood": values["likelihood"], **values["schedules"]}
    return found


def content(run: Run, pictures: list[report.Picture]) -> report.Content:
    """Collect what the report shows."""
    name = run.env["recipe"]
    recipe = recipes.RECIPES.get(name)
    return report.Content(
        name=run.path.name,
        path=str(run.path),
        spec=run.spec,
        data=run.data,
        env=run.env,
        history=run.history,
        metrics=figures_of(run),
        unfinished=not run.finished,
        evaluation=run.evaluation,
        figures=run.figures,
        pictures=pictures,
        commands=commands(run),
        citation=recipe.citation if recipe else None,
        recipe=name,
    )


def commands(run: Run, called: str = "lowerbound") -> list[tuple[str, str]]:
    """Give the commands to go on with, of those that work for this run, by what the program is called.

    A report outlives the place it was made in, and names the program plainly; what is typed here is `program()`.
    """
    import shlex

    path = shlex.quote(str(run.path))
    own_data, own_model = (run.spec.get(part, {}).get("kind") == "own" for part in ("data", "model"))
    some = (
        [(f"more new {noun(run.data['shape'])}", f"{called} sample {path} -n 100")]
        if is_image(run) or not own_data
        else []
    )
    some += [] if own_data else _of_the_data(run, path, called)
    if not run.finished and not own_model and not own_data:
        some = [("go on with the training", f"{called} resume {path}"), *some]
    some = [] if own_model else some  # the command line cannot build what was built in Python
    return [*some, ("in Python", _in_python(run, own_data, own_model))]


def _of_the_data(run: Run, path: str, called: str) -> list[tuple[str, str]]:
    """Give the commands that read the data, each on the split that is held out."""
    split, some = held_out(run), []
    size = run.data["images"][split]
    where = "" if split == "test" else f" --split {split}"
    if is_image(run):
        start = min(3, size - 1)
        some.append(
            (f"move one latent at a time, from {split} image {start}", f"{called} traverse {path} --image {start}")
        )
        first, second = (3, 4) if size > 4 else (0, 1)
        if size > 1:
            ends = f"--start {first} --end {second}"
            some.append((f"walk from one {split} image to another", f"{called} interpolate {path} {ends}"))
    measured = f"{called} evaluate {path}{where} --samples 10"
    *names, last = headline(figures_of(run).get(split) or {}) or ["what can be measured"]
    again = f"{', '.join(names)} and {last}" if names else last
    return [
        *some,
        (f"the codes of the {split} {noun(run.data['shape'])}, as .npz and .csv", f"{called} embed {path}{where}"),
        (f"{again} again, with ten latents an {noun(run.data['shape'])[:-1]}", measured),
        ("this page again", f"{called} report {path}"),
    ]


def _in_python(run: Run, own_data: bool, own_model: bool) -> str:
    """Give the line that opens the run in Python, with what its spec cannot name."""
    given = (", model=model" if own_model else "") + (", source=x" if own_data else "")
    return f"import lowerbound; run = lowerbound.load({str(run.path)!r}{given}); run.model.sample(64)"


def notebook(run: Run) -> str:
    """Show a run in a notebook: its headline figures, its curves and its samples."""
    import base64
    import html
    import io

    if not run.finished:
        return f"<p><b>{html.escape(run.path.name)}</b>: not finished, {len(run.history)} rows of history</p>"
    figure = run.metrics.get("test") or run.metrics.get("validation") or {}
    line = ", ".join(f"{name} {number(figure[name])}" for name in headline(figure))
    png = io.BytesIO()
    sample(run).savefig(png, format="png", dpi=80)
    picture = base64.b64encode(png.getvalue()).decode()
    return (
        f"<p><b>{html.escape(run.path.name)}</b>: {line} nats ({html.escape(run.weights_note)})</p>"
        f"{figures.svg(figures.curves(run.history))}<br><img alt='samples' src='data:image/png;base64,{picture}'>"
    )
