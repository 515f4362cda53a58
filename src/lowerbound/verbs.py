"""The verbs of the command line: what was found, what was chosen and why, where the result is, and how to go on."""

import io
import json
import logging
import math
import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from matplotlib.figure import Figure

from lowerbound import begin, figures, files, gallery, job, process, recipes, seeds
from lowerbound import spec as specs
from lowerbound.data import Source
from lowerbound.errors import DivergedError, StoppedError, UsageError
from lowerbound.metrics import fitted_note, headline
from lowerbound.process import program
from lowerbound.progress import Stop, console, work
from lowerbound.report import BEGUN
from lowerbound.run import Run
from lowerbound.words import counted, noun, number, with_error

if TYPE_CHECKING:
    from lowerbound import cli


def say(text: str) -> None:
    """Print a line as it is: names from outside are no markup."""
    console.print(text, markup=False)


# train and resume


def train(args: "cli.Train") -> None:
    """Train one run, or one for each of several seeds."""
    if args.seeds < 1:
        raise UsageError(f"--seeds is {args.seeds}: at least 1 is needed.")
    with Stop().listening() as stop:
        hear_loaders()
        spec, name, source = _plan(args)
        env = settle(spec, args.command)
        out = None if args.out is None else Path(args.out)
        if args.seeds == 1:
            task = begin.prepare(spec, source, name=name, out=out, device=args.device, env=env)
            _introduce(task, name)
            _finish(task, stop)
            return
        begin.plan_job(spec, source, args.device)  # what cannot be trained is refused before a folder is made
        which = range(spec["seed"], spec["seed"] + args.seeds)
        folder = seeds.create(spec, source, which, name=name, out=out, device=args.device)
        train_group(folder, source, args.device, env, stop)


def _plan(args: "cli.Train") -> tuple[specs.Spec, str, Source]:
    of_data, others = begin.split(args.set)
    node, source = begin.open_data(args.data, of_data, **data_arguments(args))
    spec, name = begin.plan_spec(
        node,
        source,
        recipe=args.recipe,
        beta=args.beta,
        latents=args.latents,
        epochs=args.epochs,
        seed=args.seed,
        assignments=[*of_steps(args), *others],
    )
    return spec, name, source


def _finish(task: job.Job, stop: Stop) -> None:
    with begin.advising(task.run.path):
        work(task, stop)
    _conclude(task.run)


def resume(args: "cli.Resume") -> None:
    """Go on with a run, or with a group of them."""
    with Stop().listening() as stop:
        hear_loaders()
        if seeds.is_group(args.run):
            if args.at is not None or args.fit is not None:
                option = "--fit" if args.at is None else "--at"
                raise UsageError(f"{args.run} holds several runs: give one of them with {option}.")
            group = Path(args.run)
            env = settle(seeds.opened(group).specs[0], args.command)
            train_group(group, seeds.source_of(group), args.device, env, stop)
            return
        settle(Run.open(args.run).spec)
        task = begin.reopen(args.run, device=args.device, at=args.at, fit=args.fit)
        _as_recorded(task.run)
        say(f"Going on with {args.run} at step {task.state.step:,} of {task.total:,}.")
        _finish(task, stop)


def _as_recorded(run: Run) -> None:
    """Take the threads that a run was trained with, since sums depend on them, and say what stays different."""
    threads, there = run.env.get("threads"), torch.get_num_threads()
    if isinstance(threads, int) and threads > 0 and threads != there:
        process.tune(threads=threads, deterministic=run.spec["train"]["deterministic"])
        say(f"Threads: {threads}, as the run was trained with, not {there}: it goes on bit for bit.")
    for line in begin.differences(run):
        say(line)


def train_group(folder: Path, source: Source, device: str | None, env: dict[str, Any], stop: Stop) -> None:
    """Train what is not finished of a folder of runs, and say what came of all; in a sweep a run may diverge."""
    group, lost = seeds.opened(folder), []
    names = list(group.runs)
    for i, task in enumerate(seeds.jobs(folder, source, device=device, env=env)):
        if i == 0:
            _introduce(task, task.run.env["recipe"], folder)
        _as_recorded(task.run)
        name = task.run.path.name
        say(f"Run {names.index(name) + 1} of {len(names)}: seed {task.run.spec['seed']}, in {task.run.path}:")
        try:
            with begin.advising(folder):
                work(task, stop, group.steps_after(name, source))
        except StoppedError as error:
            raise StoppedError(str(error).replace(str(task.run.path), str(folder))) from None
        except DivergedError as error:
            if group.over is None:
                raise
            stop.training = False
            lost.append(name)
            say(f"{name} diverged and is left out. {error}")
            continue
        _measured(task.run)
    if len(lost) < len(names):
        _conclude_group(group)
    if lost:
        raise DivergedError(f"{counted(len(lost), 'run')} of {folder} diverged: {', '.join(lost)}.")


def _conclude_group(group: seeds.Group) -> None:
    """Say what the runs of a group have in common, and how much they differ."""
    if group.over is not None:
        from lowerbound.comparison import command  # it stands above

        command.conclude(group)
        return
    folder, found = group.folder, seeds.spread(group.folder)
    if found is None:
        say(f"\nNo image was held out, so nothing was measured: the runs are in {folder}; each has its report.html.")
        return
    columns = [*headline(found), *(["active"] if "active" in found else [])]
    heads = [{"active": "in use"}.get(name, name) for name in columns]
    say(f"\n{found['split'].capitalize()}, in nats:\n  {'seed':>8}" + "".join(f"{head:>12}" for head in heads))
    for i, seed in enumerate(found["seeds"]):
        each = (found[name]["each"][i] for name in columns)
        say(
            f"  {seed:>8}"
            + "".join(f"{value:>12,d}" if isinstance(value, int) else f"{number(value):>12}" for value in each)
        )
    say(f"\nOver {counted(len(found['seeds']), 'seed')}, on the {found['split']} split (mean ± standard deviation):")
    for name in columns:
        figure, unit = found[name], "latents in use" if name == "active" else "nats"
        label = "" if name == "active" else f"{name} "
        say(f"  {label}{with_error(figure['mean'], figure['deviation'])} {unit}")
    say(f"The runs and {seeds.FILE} are in {folder}; each has its report.html.")


def hear_loaders() -> None:
    """Let the data's loaders say what they do."""
    handler = logging.StreamHandler(_Console())
    handler.setFormatter(logging.Formatter("%(message)s"))
    log = logging.getLogger("lowerbound")
    if not log.handlers:
        log.addHandler(handler)
        log.setLevel(logging.INFO)


def settle(spec: specs.Spec, command: str = "") -> dict[str, Any]:
    """Set what is process-wide as a run's spec asks for it; gives what env.json records of it."""
    return {"settings": process.tune(deterministic=spec["train"]["deterministic"]), "command": command}


class _Console(io.StringIO):
    def write(self, text: str) -> int:
        console.print(text, end="", markup=False)
        return len(text)


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


def _introduce(task: job.Job, name: str, folder: Path | None = None) -> None:
    """Say what was found, and what was chosen and why; the folder is that of several runs."""
    run, source = task.run, task.source
    known = run.data
    shape = "×".join(map(str, known["shape"]))
    counts = ", ".join(f"{n:,} {split}" for split, n in known["images"].items())
    say(f"Data: {source.name}, {'images' if len(source.shape) == 3 else 'vectors'} of {shape}: {counts}.")
    if known["origin"]:
        cache = f", kept in {known['cache']}" if "cache" in known else ""
        say(f"  From: {'; '.join(known['origin'])}{cache}.")
    for note in known.get("notes", []):
        say(f"  {note}")
    chosen = recipes.recipe(name)
    say(f"Recipe: {name}{_price(run.spec)}: {chosen.about} ({chosen.citation}).")
    parameters = sum(p.numel() for p in task.state.model.parameters())
    note = job.likelihood_note(task.state.model, source)
    say(
        f"Model: {run.spec['latents']} latents, {parameters:,} parameters, {_networks(run.spec)}; "
        f"likelihood {note['name']}{', here ' + note['note'] if note['note'] else ''}."
    )
    plan = task.plan
    say(
        f"Training: {counted(task.total, 'step')} of {plan.batch} ({counted(plan.epochs, 'epoch')}), {plan.optimiser}, "
        f"lr {plan.lr:g} {plan.schedule}, {'bfloat16' if task.state.bfloat16 else 'float32'} on {run.env['device']}, "
        f"{counted(run.env['threads'], 'thread')}, seed {run.spec['seed']}."
    )
    if run.spec["fit"]:
        say(f"Afterwards: a prior is fitted to the codes ({run.spec['fit']['kind']}), in place of the model's own.")
    if why := _few(task):
        say(f"  {why}")
    where = folder or run.path
    what = "Runs" if folder else "Run"
    say(f"{what}: {where}  (Ctrl-C stops and saves; {program()} resume {shlex.quote(str(where))} goes on)")


def _few(task: job.Job) -> str:
    """Say why batch and epochs are not the usual ones, where they were chosen for few images."""
    n, plan = len(task.source.train), task.plan
    chosen, usual = (recipes.length(task.source.shape, number) for number in (n, 10**6))
    if chosen == usual or (plan.batch, plan.epochs) != (chosen["batch"], chosen["epochs"]):
        return ""
    return (
        f"{n:,} {noun(task.source.shape)} are few: with a batch of {usual['batch']} and {usual['epochs']} epochs "
        f"a model would hardly have begun, so both were chosen for {recipes.FEWEST_STEPS:,} steps or more."
    )


def _price(spec: specs.Spec) -> str:
    """Say β, or the end and kind of its schedule."""
    found = recipes.beta_of(spec["objective"])
    if found is None:
        return ""
    _, weight = found
    return f" (β = {weight:g})" if isinstance(weight, float | int) else f" (β {weight['kind']})"


def _networks(spec: specs.Spec) -> str:
    if spec["model"]["kind"] != "vae":
        return "an own model"
    nets = [spec["model"][part]["net"] for part in ("posterior", "likelihood")]
    return " and ".join(f"{net['kind']} {net.get('channels', net.get('hidden', ''))}" for net in nets)


def _conclude(run: Run) -> None:
    """Say how good it is, from which weights, and where the report is."""
    found = run.metrics
    _measured(run)
    last = found.get("test", found.get("validation"))
    if last:
        say(_collapse(last, run.history[-1]["step"] if run.history else 0))
    if found["likelihood"]["note"]:
        say(f"The distortion is {found['likelihood']['note']}: compare it with runs of the same kind only.")
    for name, sign in (("beta", "β"), ("capacity", "the capacity C")):
        end = found.get(name)
        if end and abs(end["reached"] - end["asked"]) > 0.01 * abs(end["asked"]):
            say(f"The schedule of {sign} ended at {end['reached']:.3g}, not at the {end['asked']:.3g} asked for.")
    seconds = found["seconds"]
    say(f"Trained in {seconds['training']:.0f} s, evaluated and reported in {seconds['evaluation and report']:.0f} s.")
    say(f"Report: {run.path / 'report.html'}")
    say(
        f"Go on with: {program()} sample {shlex.quote(str(run.path))}   (and reconstruct, traverse, interpolate, embed)"
    )


def _measured(run: Run) -> None:
    """Say the figures of each split that was held out."""
    for split in ("validation", "test"):
        if split in run.metrics:
            say(f"{split.capitalize()}: {_figures(run, run.metrics[split])}, from the {run.weights_note}.")
    last = run.metrics.get("test", run.metrics.get("validation"))
    for note in fitted_note(last, run.metrics["fit"]["kind"]) if last and "fit" in run.metrics else []:
        say(note)


def _collapse(found: dict[str, Any], steps: int) -> str:
    if found["active"] is None:
        return f"Latents: {found['latents']}; how many are in use one held-out image cannot tell."
    parts = [f"{found['active']} of {found['latents']} in use"]
    if steps < BEGUN:
        parts.append(f"but after {counted(steps, 'step')} the model has hardly begun: more --epochs tell")
    else:
        # without the KL of each, as of a point or a flow, the variance of the codes is all that is known
        how = "collapsed to the prior" if found.get("kl_by_dim") else "hardly varying over the inputs"
        parts += [f"{how}: {_names(found['collapsed'])}"] if found["collapsed"] else []
        parts += ["none collapsed"] if found.get("kl_by_dim") and not found["collapsed"] else []
        if found.get("constant"):
            parts.append(f"the same for every input, at a price: {_names(found['constant'])}")
    return f"Latents: {'; '.join(parts)}."


def _names(latents: list[int]) -> str:
    return ", ".join(f"z{i}" for i in latents[:20]) + (", …" if len(latents) > 20 else "")


def _figures(run: Run, found: dict[str, Any]) -> str:
    errors = found["standard_error"]
    parts = [f"{name} {with_error(found[name], errors.get(name))}" for name in headline(found)]
    bits = f" ({found['bits_per_dimension']:.3f} bits per dimension)" if "bits_per_dimension" in found else ""
    return f"{', '.join(parts)} nats{bits} over {counted(found['images'], noun(run.data['shape'])[:-1])}"


# verbs on a trained run


def opened(path: str) -> Run:
    """Open a run under the process settings that it was trained under, so that figures agree to the last bit."""
    run = Run.open(path)
    settle(run.spec)
    return run


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
        _write(Path(args.out), _npy(x.numpy()))
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
        _conclude_group(group)
        return
    run = opened(path)
    say(f"Report: {gallery.write(run)}")


def listing(what: str) -> None:
    """List recipes, data sets or parts."""
    if what == "recipes":
        for name, recipe in recipes.RECIPES.items():
            say(f"{name}\n  {recipe.about}\n  {recipe.citation}")
            say(f"  expect: {recipe.expect}")
            if recipe.sets:
                say(f"  sets {json.dumps(recipe.sets, ensure_ascii=False)}")
        return
    chosen = ["data"] if what == "data" else [name for name in specs.REGISTRIES if name != "data"]
    for registry in chosen:
        for kind, constructor in specs.REGISTRIES[registry].items():
            first = (constructor.__doc__ or "").strip().split("\n")[0]
            say(f"{registry} {kind}: {first}")
            for field in specs.describe(registry, kind):
                default = "" if field.required else f" = {json.dumps(field.default, ensure_ascii=False)}"
                say(f"    {field.name}: {field.type}{default}  {field.help}")


def _npy(array: np.ndarray) -> bytes:
    packed = io.BytesIO()
    np.save(packed, array, allow_pickle=False)
    return packed.getvalue()


def _picture(run: Run, name: str, figure: Figure, out: str | None) -> None:
    path = Path(out) if out else run.path / "figures" / f"{name}.png"
    if path.suffix.lower() != ".png":
        raise UsageError(f"--out {path}: a picture is written as .png.")
    make_place(path)
    figures.save(figure, path, note=run.weights_note)
    say(f"{path}  ({run.weights_note})")


def _write(path: Path, data: bytes) -> None:
    make_place(path)
    files.write(path, data)
    say(str(path))


def make_place(path: Path) -> None:
    """Make the folder that a file is written to; raises UsageError where the path cannot be one of a file."""
    try:
        if path.is_dir():
            raise UsageError(f"--out {path} is a folder: give the name of a file.")
        path.parent.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        blocking = next((p for p in path.parents if p.is_file()), path.parent)
        raise UsageError(f"--out {path}: {blocking} is a file, not a folder; give another place.") from None
    except OSError as error:
        raise files.storage_error(path, error) from error
