"""The trained model of a run's directory: the chosen weights, or the newest checkpoint's while it trains."""

from typing import TYPE_CHECKING

import torch

from lowerbound import after, checkpoint, files
from lowerbound import spec as specs
from lowerbound.errors import StorageError
from lowerbound.run.names import WEIGHTS
from lowerbound.vae import Model

if TYPE_CHECKING:
    from lowerbound.run.directory import Run


def trained(run: "Run") -> Model:
    """Make the model of a run with its weights, in evaluation mode; raises StorageError where they are damaged.

    It has the prior that was fitted to its codes, where one was; before that, the one it is trained with.
    """
    known = run.data
    what = tuple(known["shape"]), known["unit"]
    model = run.own or specs.build_model(run.spec, *what)
    tensors = _weights(run)
    fit = specs.build_fit(run.spec, *what)
    if fit is not None and (run.path / WEIGHTS).exists():
        model = after.with_prior(model, fit.prior)
    try:
        model.load_state_dict(tensors)
    except RuntimeError as error:
        raise StorageError(f"The weights in {run.path} do not fit the model of its spec: {error}.") from None
    return model.eval()


def _weights(run: "Run") -> dict[str, torch.Tensor]:
    path = run.path / WEIGHTS
    if not path.exists() and run.finished:
        raise StorageError(f"{path} is missing: lowerbound resume {run.path} writes it anew from the checkpoints.")
    if not path.exists():
        return checkpoint.load(run.newest)[0]["weights"]
    raw = path.read_bytes()
    expected = run.metrics["weights"]["sha256"] if run.finished else None
    if expected not in (None, files.digest(raw)):
        raise StorageError(
            f"{path} is damaged: its SHA-256 is not the one in metrics.json. "
            f"The checkpoints hold the same weights: lowerbound resume {run.path} writes it anew."
        )
    return checkpoint.unpack(raw, path)
