"""lowerbound: train, measure and explore variational autoencoders.

    import lowerbound

    run = lowerbound.fit("mnist", recipe="beta-vae", beta=4)
    run.model.sample(64)
    lowerbound.traverse(run)  # a matplotlib figure

Names are loaded when they are first used, so that ``lowerbound --help`` answers without loading torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lowerbound import after as after
    from lowerbound import comparison as comparison
    from lowerbound import data as data
    from lowerbound import dist as dist
    from lowerbound import evaluation as evaluation
    from lowerbound import explore as explore
    from lowerbound import figures as figures
    from lowerbound import likelihood as likelihood
    from lowerbound import metrics as metrics
    from lowerbound import nets as nets
    from lowerbound import objective as objective
    from lowerbound import posterior as posterior
    from lowerbound import prior as prior
    from lowerbound import spec as spec
    from lowerbound import train as train
    from lowerbound.begin import embed as embed
    from lowerbound.begin import fit as fit
    from lowerbound.begin import resume as resume
    from lowerbound.comparison import compare as compare
    from lowerbound.comparison import sweep as sweep
    from lowerbound.evaluation.examine import evaluate as evaluate
    from lowerbound.gallery import codes as codes
    from lowerbound.gallery import interpolate as interpolate
    from lowerbound.gallery import manifold as manifold
    from lowerbound.gallery import reconstruct as reconstruct
    from lowerbound.gallery import sample as sample
    from lowerbound.gallery import traverse as traverse
    from lowerbound.process import tune as tune
    from lowerbound.run import Run as Run
    from lowerbound.run import load as load
    from lowerbound.spec import build as build
    from lowerbound.spec import register as register
    from lowerbound.tasks.impute import impute as impute
    from lowerbound.tasks.neighbours import neighbours as neighbours
    from lowerbound.tasks.score import score as score
    from lowerbound.vae import VAE as VAE
    from lowerbound.vae import Latent as Latent
    from lowerbound.vae import Model as Model
    from lowerbound.vae import Trace as Trace

__version__ = "0.1.0"

_MODULES = (
    "after comparison data dist evaluation explore figures likelihood metrics nets objective posterior prior spec train"
)
_NAMES = {
    "gallery": "codes interpolate manifold reconstruct sample traverse",
    "begin": "embed fit resume",
    "comparison": "compare sweep",
    "evaluation.examine": "evaluate",
    "process": "tune",
    "run": "Run load",
    "spec": "build register",
    "tasks.impute": "impute",
    "tasks.neighbours": "neighbours",
    "tasks.score": "score",
    "vae": "Latent Model Trace VAE",
}
_WHERE = {name: module for module, names in _NAMES.items() for name in names.split()}
__all__ = [*_MODULES.split(), *_WHERE]


def __getattr__(name: str) -> object:
    if name in _MODULES.split():
        return import_module(f"lowerbound.{name}")
    if name in _WHERE:
        return getattr(import_module(f"lowerbound.{_WHERE[name]}"), name)
    raise AttributeError(f"module 'lowerbound' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
