"""Arguments of the command line as assignments, and as those of the data's loaders."""

import re
from typing import TYPE_CHECKING, Any

from lowerbound.errors import UsageError

if TYPE_CHECKING:
    from lowerbound import cli


def of_steps(args: "cli.Training") -> list[str]:
    """Take the assignments of the arguments that were given and are the training's."""
    precision = [] if args.precision is None else [f"train.precision={args.precision}"]
    return precision + (["train.deterministic=true"] if args.deterministic else [])


def data_arguments(args: "cli.Training") -> dict[str, Any]:
    """Take the arguments that were given and are the data's."""
    given: dict[str, Any] = {"colour": args.colour, "binarise": args.binarise, "size": None}
    if args.size is not None:
        match = re.fullmatch(r"(\d+)x(\d+)", args.size)
        if not match:
            raise UsageError(f"--size {args.size!r}: write it as WIDTHxHEIGHT, such as 64x48.")
        given["size"] = [int(match[1]), int(match[2])]
    if args.validation is not None:
        given["validation"] = int(args.validation) if args.validation.is_integer() else args.validation
    return {name: value for name, value in given.items() if value is not None}
