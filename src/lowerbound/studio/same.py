"""The lines of Python that do what a view has done: each runs as it stands, but for what it says must be given."""

from lowerbound import gallery
from lowerbound.run import Run

EXPLORE = "from lowerbound import explore"


def begun(run: Run, *imports: str) -> str:
    """Begin a line: import what it needs and open the run."""
    return "; ".join(["import lowerbound, torch", *imports, f"run = lowerbound.load({str(run.path)!r})"])


def decoded(run: Run, z: list[float], seed: int | None = None) -> str:
    """Decode latents to the mean of p(x|z), or to a draw of it by a seed."""
    drawn = "" if seed is None else f", seed={seed}"
    return f"{begun(run, EXPLORE)}; x = explore.decode(run.model, {code(z)}{drawn})"


def traversed(run: Run, z: list[float], latent: int, low: float, high: float, steps: int) -> str:
    """Decode latents with one of them moved."""
    values = f"torch.linspace({low}, {high}, {steps})"
    return f"{begun(run, EXPLORE)}; x = explore.traverse(run.model, {code(z)}[0], [{latent}], {values})[0]"


def walked(run: Run, anchors: list[list[float]], steps: int, kind: str) -> str:
    """Walk from the first anchor through each to the last, and decode."""
    z = f"z = torch.tensor({[[float(value) for value in row] for row in anchors]})"
    return f"{begun(run, EXPLORE)}; {z}; x = explore.decode(run.model, explore.way(z, {steps}, {kind!r}))"


def near(run: Run, z: list[float], number: int) -> str:
    """Find the held-out images whose codes are nearest to some latents."""
    codes = f"codes, labels = explore.embed(run.model, run.source.blocks({gallery.held_out(run)!r}))"
    return f"{begun(run, EXPLORE)}; {codes}; distances, rows = explore.neighbours({code(z)}, codes.cpu(), {number})"


def seen(run: Run, row: int | None) -> str:
    """Encode an image, and decode its code."""
    what = "q = run.model.posterior(x); reconstruction = run.model.reconstruct(x)"
    return f"{taken(run, row)}; {what}"


def imputed(run: Run, row: int | None, missing: str, named: bool, arguments: str) -> str:
    """Fill in what is hidden by a mask: its name, or a digit for each pixel."""
    begin = taken(run, row, "from lowerbound.tasks.impute import impute")
    _, h, w = run.data["shape"]
    mask = f"missing = {missing!r}" if named else f"missing = {bits(missing)}.view({h}, {w})"
    return f"{begin}; {mask}; found = impute(run, x.cpu(), missing=missing, images=[0], {arguments})"


def taken(run: Run, row: int | None, *imports: str) -> str:
    """Begin a line with x: a held-out image, or what must be given."""
    if row is None:
        return begun(run, *imports)
    return (
        f"{begun(run, 'from lowerbound import gallery', *imports)}; x, _ = gallery.shown(run, slice({row}, {row + 1}))"
    )


def given(run: Run, row: int | None) -> str | None:
    """Say what a line of `taken` must be given."""
    if row is not None:
        return None
    return f"x is your picture, a float tensor of shape {(1, *run.data['shape'])} with values in [0, 1]"


def bits(digits: str) -> str:
    """Write a mask as a tensor, by a number whose bits it is."""
    return f"torch.tensor([bit == '1' for bit in format({int(digits, 2):#x}, '0{len(digits)}b')])"


def code(z: list[float]) -> str:
    """Write latents as a tensor of one row."""
    return f"torch.tensor([[{', '.join(str(round(float(value), 4)) for value in z)}]])"
