"""The verbs that draw a trained run: its samples, reconstructions, traversals and interpolations, and its report."""

import io
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from matplotlib.figure import Figure

from lowerbound import gallery, seeds
from lowerbound.errors import UsageError
from lowerbound.run import Run
from lowerbound.verbs.conclusion import conclude_group
from lowerbound.verbs.output import save, write
from lowerbound.verbs.saying import say
from lowerbound.verbs.settings import opened

if TYPE_CHECKING:
    from lowerbound import cli


def sample(args: "cli.Sample") -> None:
    """Write new images as a picture or as numbers."""
    if args.number < 1:
        raise UsageError(f"--number is {args.number}: at least 1 is needed.")
    if not 0 <= args.temperature < math.inf:
        raise UsageError(f"--temperature is {args.temperature}: it must be a number of at least 0.")
    run = opened(args.run)
    settings: dict[str, Any] = {"seed": args.seed, "temperature": args.temperature, "noise": args.noise}
    if args.out and args.out.endswith(".npy"):
        with torch.inference_mode():
            x = run.model.sample(args.number, **settings)
        say(str(write(Path(args.out), _npy(x.numpy()))))
        return
    _picture(run, "samples", gallery.sample(run, args.number, **settings), args.out)


def reconstruct(path: str, number: int, out: str | None) -> None:
    """Write a picture of reconstructions."""
    if number < 1:
        raise UsageError(f"--number is {number}: at least 1 is needed.")
    run = opened(path)
    _picture(run, "reconstructions", gallery.reconstruct(run, number), out)


def traverse(args: "cli.Traverse") -> None:
    """Write a picture of a traversal."""
    if args.latents < 1:
        raise UsageError(f"--latents is {args.latents}: at least 1 is needed.")
    if not 0 < args.reach < math.inf:
        raise UsageError(f"--reach is {args.reach}: it must be a number above 0.")
    run = opened(args.run)
    _picture(run, "traversal", gallery.traverse(run, args.latents, image=args.image, reach=args.reach), args.out)


def interpolate(args: "cli.Interpolate") -> None:
    """Write a picture of an interpolation."""
    if (args.start is None) != (args.end is None):
        raise UsageError("Give both --start and --end, or neither.")
    if args.steps < 2:
        raise UsageError(f"--steps is {args.steps}: at least the two ends are needed.")
    run = opened(args.run)
    pairs = None if args.start is None or args.end is None else [(args.start, args.end)]
    _picture(run, "interpolation", gallery.interpolate(run, pairs, steps=args.steps, kind=args.kind), args.out)


def report(path: str) -> None:
    """Make figures and report anew."""
    if seeds.is_group(path) and (group := seeds.opened(path)).over is not None:
        conclude_group(group)
        return
    run = opened(path)
    say(f"Report: {gallery.write(run)}")


def _npy(array: np.ndarray) -> bytes:
    packed = io.BytesIO()
    np.save(packed, array, allow_pickle=False)
    return packed.getvalue()


def _picture(run: Run, name: str, figure: Figure, out: str | None) -> None:
    path = save(run, figure, Path(out) if out else run.figures / f"{name}.png")
    say(f"{path}  ({run.weights_note})")
