"""The verbs that train: one run, or a folder of them, begun anew or gone on with."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from lowerbound import begin, process, seeds
from lowerbound import spec as specs
from lowerbound.data import Source
from lowerbound.errors import DivergedError, StoppedError, UsageError
from lowerbound.job import Job
from lowerbound.progress import Stop, work
from lowerbound.run import Run
from lowerbound.verbs.arguments import data_arguments, of_steps
from lowerbound.verbs.conclusion import conclude, conclude_group, measured
from lowerbound.verbs.introduction import introduce
from lowerbound.verbs.saying import hear_loaders, say
from lowerbound.verbs.settings import settle
from lowerbound.words import counted

if TYPE_CHECKING:
    from lowerbound import cli


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
            introduce(task, name)
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


def train_group(folder: Path, source: Source, device: str | None, env: dict[str, Any], stop: Stop) -> None:
    """Train what is not finished of a folder of runs, and say what came of all; in a sweep a run may diverge."""
    group, lost = seeds.opened(folder), []
    names = list(group.runs)
    for i, task in enumerate(seeds.jobs(folder, source, device=device, env=env)):
        if i == 0:
            introduce(task, task.run.env["recipe"], folder)
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
        measured(task.run)
    if len(lost) < len(names):
        conclude_group(group)
    if lost:
        raise DivergedError(f"{counted(len(lost), 'run')} of {folder} diverged: {', '.join(lost)}.")


def _finish(task: Job, stop: Stop) -> None:
    with begin.advising(task.run.path):
        work(task, stop)
    conclude(task.run)


def _as_recorded(run: Run) -> None:
    """Take the threads that a run was trained with, since sums depend on them, and say what stays different."""
    threads, there = run.env.get("threads"), torch.get_num_threads()
    if isinstance(threads, int) and threads > 0 and threads != there:
        process.tune(threads=threads, deterministic=run.spec["train"]["deterministic"])
        say(f"Threads: {threads}, as the run was trained with, not {there}: it goes on bit for bit.")
    for line in begin.differences(run):
        say(line)
