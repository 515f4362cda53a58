"""The command line: it reads arguments and calls the verbs. No mathematics, and no torch for help."""

import logging
import os
import shlex
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, final

import tyro
from tyro.conf import Positional, UseAppendAction, arg
from tyro.constructors import PrimitiveConstructorSpec as Reader

from lowerbound.errors import LowerboundError, UsageError, nearest
from lowerbound.omp import wait_briefly


def _number(name: str, kind: type[int] | type[float]) -> Reader[Any]:
    """Read an optional number: tyro's own errors speak of every type that was tried."""

    def read(words: list[str]) -> int | float:
        try:
            return kind(words[0])
        except ValueError:
            what = "a whole number" if kind is int else "a number"
            raise UsageError(f"{name} is {words[0]!r}: it must be {what}.") from None

    return Reader(1, "N", read, lambda value: value is None or isinstance(value, int | float), lambda _: ["none"])


def _word(*choices: str) -> Reader[Any]:
    """Read one of some words, without the None that stands for none given."""
    shown = f"{{{','.join(choices)}}}"
    return Reader(
        1, shown, lambda words: words[0], lambda value: value in (None, *choices), lambda _: ["none"], choices
    )


RunPath = Annotated[Positional[str], arg(metavar="RUN", help="the run's directory, as lowerbound train printed it")]
Set = Annotated[UseAppendAction[tuple[str, ...]], arg(metavar="PATH=VALUE")]
Many = Annotated[int, arg(aliases=["-n"])]


@dataclass
class Training(ABC):
    """What the trainings of one model and of a sweep are both asked for."""

    data: Annotated[Positional[str], arg(metavar="[DATA]")] = "mnist"
    """A known name (lowerbound list data), a folder of images, or an .npy or .npz file."""
    recipe: Annotated[str | None, arg(metavar="NAME", help_behavior_hint="")] = None
    """A published model (lowerbound list recipes); without one: vae, or beta-vae where --beta is given."""
    beta: Any = None  # here for its place; each verb says what it takes
    latents: Annotated[int | None, _number("--latents", int), arg(metavar="N", help_behavior_hint="")] = None
    """The number of latents; 16 for images, 2 for vectors."""
    epochs: Annotated[float | None, _number("--epochs", float), arg(metavar="N", help_behavior_hint="")] = None
    """Passes over the training images; 4 for images, more where there are few."""
    seed: int = 0
    """The seed of weights, order and noise."""
    seeds: int = 1
    """Train from so many seeds, seed, seed + 1, …, and report their spread."""
    out: Annotated[str | None, arg(metavar="PATH", help_behavior_hint="")] = None
    """The directory of what is trained; it must not exist. By default a new one under runs/."""
    size: Annotated[str | None, arg(metavar="WxH", help_behavior_hint="")] = None
    """WIDTHxHEIGHT of a folder's images: centre crop, then antialiased resize."""
    colour: Annotated[str | None, _word("auto", "grey", "colour"), arg(help_behavior_hint="")] = None
    """How a folder's images are read; by default auto."""
    binarise: Annotated[str | None, _word("none", "dynamic", "static", "threshold"), arg(help_behavior_hint="")] = None
    """How pixels become 0 or 1: not at all (the default), drawn anew each time, drawn once, or cut at ½."""
    validation: Annotated[float | None, _number("--validation", float), arg(metavar="N", help_behavior_hint="")] = None
    """Images (or a fraction) of the training set that are kept for validation; 5,000 of MNIST, a tenth of others."""
    set: Set = ()
    """Set anything else, such as --set train.lr=0.001; once for each."""
    device: str = "auto"
    """auto, cpu, cuda or mps."""
    precision: Annotated[str | None, _word("auto", "float32", "bfloat16"), arg(help_behavior_hint="")] = None
    """Of the networks in a step; auto, the default, takes bfloat16 where the device multiplies it in hardware."""
    deterministic: bool = False
    """Use torch's own deterministic kernels only."""
    command: str = field(default="", init=False)  # as it was given, for the run's env.json

    @abstractmethod
    def __call__(self) -> None:
        """Run the verb."""


@final
@dataclass
class Train(Training):
    """Train a model: by default the lecture's β-VAE on MNIST, in about a minute."""

    beta: Annotated[float | None, _number("--beta", float), arg(metavar="β", help_behavior_hint="")] = None
    """The weight of the KL term; of a schedule, its end."""

    def __call__(self) -> None:
        """Run the verb."""
        from lowerbound import verbs

        verbs.train(self)


@final
@dataclass
class Sweep(Training):
    """Train a set of runs that differ in β, or in another setting, and draw rate against distortion."""

    beta: Annotated[str | None, arg(metavar="RANGE", help_behavior_hint="")] = None
    """From one β to another, such as 0.1..20, or a list such as 0.1,1,4; with --over one β for all."""
    points: int = 8
    """So many values of a range, each the same number of times the one before."""
    over: Annotated[str | None, arg(metavar="PATH=RANGE", help_behavior_hint="")] = None
    """Vary this setting instead of β, such as latents=2..32 or train.lr=0.001,0.003."""

    def __call__(self) -> None:
        """Run the verb."""
        from lowerbound.comparison import command

        command.sweep(self)


@final
@dataclass
class Resume:
    """Go on with a run that was stopped, bit for bit as if it had not been; or finish one that was trained."""

    run: RunPath
    at: Annotated[int | None, _number("--at", int), arg(metavar="STEP", help_behavior_hint="")] = None
    """Go back to the checkpoint of this step; later ones are renamed, not deleted."""
    device: Annotated[str | None, arg(metavar="DEVICE", help_behavior_hint="")] = None
    """auto, cpu, cuda or mps; by default the run's own."""
    fit: Annotated[str | None, arg(metavar="KIND", help_behavior_hint="")] = None
    """Fit another prior to the codes: gaussian, mixture, flow, two-stage, or none for that of the training."""
    command: str = field(default="", init=False)

    def __call__(self) -> None:
        """Run the verb."""
        from lowerbound import verbs

        verbs.resume(self)


@final
@dataclass
class Evaluate:
    """Measure a model: its elbo, log p(x) with an error bar, codes and samples, and what is wrong with it."""

    run: RunPath
    split: Literal["train", "validation", "test"] = "test"
    """Which images."""
    measure: Annotated[UseAppendAction[tuple[str, ...]], arg(metavar="NAME")] = ()
    """Only this measure: ledger, likelihood, annealed, gap, aggregate, samples or disentanglement; once for each.

    "all" takes those too that last minutes: annealed and gap.
    """
    samples: Annotated[int | None, _number("--samples", int), arg(metavar="N", help_behavior_hint="")] = None
    """Latents drawn for each image in the ledger; by default as many as the objective's."""
    importance: int = 5000
    """Samples of log p(x) for each image."""
    images: int = 100
    """Images of which log p(x) is estimated."""
    json: bool = False
    """Print JSON instead of a table."""

    def __call__(self) -> None:
        """Run the verb."""
        from lowerbound.evaluation import command

        command.evaluate(self)


@final
@dataclass
class Sample:
    """Draw new images from the prior."""

    run: RunPath
    number: Many = 64
    """How many."""
    seed: int = 0
    """Of the draw: image i is the same however many are drawn."""
    temperature: float = 1.0
    """Stretches the prior's samples: below 1 more typical, above 1 more varied."""
    noise: bool = False
    """Draw pixels from p(x|z) instead of showing its mean."""
    out: Annotated[str | None, arg(metavar="PATH", help_behavior_hint="")] = None
    """A .png for a picture, or .npy for the numbers; by default in the run's figures/."""

    def __call__(self) -> None:
        """Run the verb."""
        from lowerbound import verbs

        verbs.sample(self)


@final
@dataclass
class Reconstruct:
    """Show images of the test split beside their reconstructions."""

    run: RunPath
    number: Many = 24
    """How many."""
    out: Annotated[str | None, arg(metavar="PATH", help_behavior_hint="")] = None
    """The picture; by default in the run's figures/."""

    def __call__(self) -> None:
        """Run the verb."""
        from lowerbound import verbs

        verbs.reconstruct(self.run, self.number, self.out)


@final
@dataclass
class Traverse:
    """Move one latent at a time, those with the highest KL first."""

    run: RunPath
    latents: int = 10
    """How many latents."""
    image: Annotated[int | None, _number("--image", int), arg(metavar="ROW", help_behavior_hint="")] = None
    """Start from this image of the test split instead of the prior's centre."""
    reach: float = 2.5
    """From -reach to +reach."""
    out: Annotated[str | None, arg(metavar="PATH", help_behavior_hint="")] = None
    """The picture; by default in the run's figures/."""

    def __call__(self) -> None:
        """Run the verb."""
        from lowerbound import verbs

        verbs.traverse(self)


@final
@dataclass
class Interpolate:
    """Walk from one image of the test split to another through the latent space."""

    run: RunPath
    start: Annotated[int | None, _number("--start", int), arg(metavar="ROW", help_behavior_hint="")] = None
    """The first image; without start and end, pairs of differing labels are chosen."""
    end: Annotated[int | None, _number("--end", int), arg(metavar="ROW", help_behavior_hint="")] = None
    """The last image."""
    steps: int = 11
    """Images in a row, ends included."""
    kind: Literal["linear", "spherical", "both"] = "both"
    """A straight line, an arc, or one above the other."""
    out: Annotated[str | None, arg(metavar="PATH", help_behavior_hint="")] = None
    """The picture; by default in the run's figures/."""

    def __call__(self) -> None:
        """Run the verb."""
        from lowerbound import verbs

        verbs.interpolate(self)


@final
@dataclass
class Embed:
    """Write the code of every image of a split, and its place in a plane, to an .npz, a .csv and a picture."""

    run: RunPath
    split: Literal["train", "validation", "test"] = "test"
    """Which images."""
    plane: Literal["pca", "umap", "none"] = "pca"
    """How codes are laid out in two dimensions; umap needs the extra umap."""
    out: Annotated[str | None, arg(metavar="PATH", help_behavior_hint="")] = None
    """The files' name without ending; by default codes-<split> in the run's directory."""

    def __call__(self) -> None:
        """Run the verb."""
        from lowerbound.tasks import command

        command.embed(self)


@final
@dataclass
class Score:
    """Score how anomalous images are, and flag those above a threshold with a known rate of false alarms."""

    run: RunPath
    data: Annotated[Positional[str | None], arg(metavar="[DATA]", help_behavior_hint="")] = None
    """A known name, a folder of images, or an .npy or .npz file; by default the run's test split."""
    method: Literal["elbo", "importance", "reconstruction", "regret"] = "elbo"
    """The score: regret for images of another kind, the others for what is odd within one."""
    false_alarms: float = 0.05
    """How many of the normal images may be flagged."""
    calibrate: Literal["validation", "test", "none"] = "validation"
    """The split of normal images that the threshold is set by; none gives scores only."""
    anomalous: Annotated[str | None, arg(metavar="LABELS", help_behavior_hint="")] = None
    """Labels of DATA that are anomalous, such as 1,7: gives the area under the ROC curve."""
    against: Annotated[str | None, arg(metavar="DATA", help_behavior_hint="")] = None
    """Other data, all of them anomalous: gives the area under the ROC curve."""
    images: Annotated[int | None, _number("--images", int), arg(metavar="N", help_behavior_hint="")] = None
    """Only the first N images of each."""
    samples: Annotated[int | None, _number("--samples", int), arg(metavar="N", help_behavior_hint="")] = None
    """Latents of each image; by default 16, for importance 256, for regret 64."""
    out: Annotated[str | None, arg(metavar="PATH", help_behavior_hint="")] = None
    """The files' name without ending; by default scores-<method>, and -<DATA>, in the run's directory."""
    json: bool = False
    """Print JSON instead of words."""

    def __call__(self) -> None:
        """Run the verb."""
        from lowerbound.tasks import command

        command.score(self)


@final
@dataclass
class Impute:
    """Draw the missing pixels of images given those that were seen."""

    run: RunPath
    data: Annotated[Positional[str | None], arg(metavar="[DATA]", help_behavior_hint="")] = None
    """A known name, a folder, or an .npy or .npz file, whose NaN are missing; by default the run's test split."""
    missing: Annotated[str | None, arg(metavar="MASK", help_behavior_hint="")] = None
    """left, right, top, bottom, centre, random:0.5, or an .npy file that is not 0 where a pixel is missing."""
    images: Annotated[str | None, arg(metavar="ROWS", help_behavior_hint="")] = None
    """Which images, such as 0,3,7."""
    number: Many = 6
    """How many images, where it is not said which."""
    draws: int = 5
    """Of each image, each from a chain of its own."""
    steps: int = 1000
    """Of each chain."""
    warmup: int = 50
    """Steps before, which accept every proposal."""
    noise: bool = False
    """Show pixels drawn from p(x|z) instead of its mean."""
    seed: int = 0
    """Of the draws, and of a random mask."""
    out: Annotated[str | None, arg(metavar="PATH", help_behavior_hint="")] = None
    """The files' name without ending; by default imputed in the run's directory."""

    def __call__(self) -> None:
        """Run the verb."""
        from lowerbound.tasks import command

        command.impute(self)


@final
@dataclass
class Neighbours:
    """Find the images that are nearest to one image, by their codes and by their pixels."""

    run: RunPath
    image: Annotated[int | None, _number("--image", int), arg(metavar="ROW", help_behavior_hint="")] = None
    """A row of the test split."""
    file: Annotated[str | None, arg(metavar="IMAGE", help_behavior_hint="")] = None
    """An image's file instead."""
    split: Literal["train", "validation", "test"] = "train"
    """Where to look."""
    number: Many = 10
    """How many."""
    out: Annotated[str | None, arg(metavar="PATH", help_behavior_hint="")] = None
    """The picture; by default in the run's figures/."""

    def __call__(self) -> None:
        """Run the verb."""
        from lowerbound.words import ONE_IMAGE

        if (self.image is None) == (self.file is None):  # before torch is loaded
            raise UsageError(ONE_IMAGE)
        from lowerbound.tasks import command

        command.neighbours(self)


@final
@dataclass
class Report:
    """Make a run's figures and report.html anew."""

    run: RunPath

    def __call__(self) -> None:
        """Run the verb."""
        from lowerbound import verbs

        verbs.report(self.run)


@final
@dataclass
class Compare:
    """Compare runs: a table of their figures, how their specs differ, and what may not be compared."""

    runs: Annotated[Positional[tuple[str, ...]], arg(metavar="RUN …", help_behavior_hint="")] = ()
    """The directories of runs, of several seeds and of sweeps."""
    out: Annotated[str | None, arg(metavar="PATH", help_behavior_hint="")] = None
    """Write a page (.html), or the curves of all runs as a picture (.png)."""
    json: bool = False
    """Print JSON instead of a table."""

    def __call__(self) -> None:
        """Run the verb."""
        from lowerbound.comparison import command

        command.compare(self)


@final
@dataclass
class List:
    """List the data sets, the recipes or the parts, with their arguments."""

    what: Annotated[Positional[Literal["recipes", "data", "parts"]], arg(metavar="{recipes,data,parts}")] = "recipes"

    def __call__(self) -> None:
        """Run the verb."""
        from lowerbound import verbs

        verbs.listing(self.what)


@final
@dataclass
class Doctor:
    """Hold the library on this machine against models with exact answers, in a minute, or a spec of your own."""

    spec: Annotated[str | None, arg(metavar="PATH", help_behavior_hint="")] = None
    """Examine this composition instead: a run's directory, or a file like its spec.json."""
    quick: bool = False
    """Draw a fifth, in some ten seconds."""
    json: bool = False
    """Print JSON instead of a table."""
    device: str = "auto"
    """auto, cpu, cuda or mps."""
    precision: Annotated[str | None, _word("auto", "float32", "bfloat16"), arg(help_behavior_hint="")] = None
    """Of the networks in a training step, as for train; by default auto."""

    def __call__(self) -> None:
        """Run the verb."""
        from lowerbound.doctor import command

        command.doctor(self)


@final
@dataclass
class Studio:
    """Open a page on this machine to train, watch and explore the runs of a folder."""

    folder: Annotated[Positional[str], arg(metavar="[FOLDER]")] = "runs"
    """Where the runs are; it need not be there yet."""
    port: Annotated[int | None, _number("--port", int), arg(metavar="N", help_behavior_hint="")] = None
    """The port of this machine's own address; by default the first that is free from 8765 on."""
    browser: bool = True
    """Open the page in the browser, where there is a screen."""

    def __call__(self) -> None:
        """Run the verb."""
        from lowerbound.studio import command

        command.studio(self)


Verb = (
    Train | Sweep | Resume | Evaluate | Compare | Sample | Reconstruct | Traverse | Interpolate | Embed | Score | Impute
    | Neighbours | Report | Studio | List | Doctor
)  # fmt: skip
DESCRIPTION = (
    "Train, measure and explore variational autoencoders. `lowerbound train` is the place to start. "
    "Add --debug for a full traceback where something fails."
)


def main(arguments: list[str] | None = None) -> int:
    """Run the command line and give its exit code."""
    wait_briefly()
    words = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in words
    words = [word for word in words if word != "--debug"]
    if words == ["--version"]:
        from importlib.metadata import version

        print(f"lowerbound {version('lowerbound')}")
        return 0
    return guarded(lambda: _call(words), debug)


def _call(words: list[str]) -> None:
    """Read the words and run the verb that they ask for."""
    known = [verb.__name__.lower() for verb in Verb.__args__]
    if words and not words[0].startswith("-") and words[0] not in known:
        raise UsageError(f"There is no command {words[0]!r}; {nearest(words[0], known)}")
    verb: Callable[[], None] = tyro.cli(Verb, args=words, prog="lowerbound", description=DESCRIPTION)
    if isinstance(verb, Training | Resume):
        verb.command = shlex.join(["lowerbound", *words])
    _place_matplotlib()
    verb()


def _place_matplotlib() -> None:
    """Give matplotlib a folder in our cache where its own cannot be written, or else keep it from warning of that."""
    own = [os.environ.get(f"XDG_{kind.upper()}_HOME") or Path.home() / f".{kind}" for kind in ("config", "cache")]
    if "MPLCONFIGDIR" in os.environ or all(_writable(Path(place) / "matplotlib") for place in own):
        return
    from lowerbound.data.fetch import cache_folder

    if _writable(ours := cache_folder() / "matplotlib"):
        os.environ["MPLCONFIGDIR"] = str(ours)
    else:
        logging.getLogger("matplotlib").setLevel(logging.ERROR)


def _writable(folder: Path) -> bool:
    """Whether a folder is there, or can be made, and takes files: what matplotlib asks of its own."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return False
    return os.access(folder, os.W_OK)


def guarded(verb: Callable[[], None], debug: bool) -> int:
    """Run a verb; turn what went wrong into words and an exit code."""
    try:
        verb()
    except LowerboundError as error:
        if debug:
            raise
        print(f"lowerbound: {error}", file=sys.stderr)
        return error.code
    except KeyboardInterrupt:
        print("lowerbound: stopped.", file=sys.stderr)
        return 130
    except BrokenPipeError:
        sys.stderr.close()  # the reader of our output has gone; there is nobody to tell
        return 141
    except Exception as error:
        if debug:
            raise
        print(
            f"lowerbound: something failed that should not have: {type(error).__name__}: {error}. "
            "Run the same command with --debug and report what it prints.",
            file=sys.stderr,
        )
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
