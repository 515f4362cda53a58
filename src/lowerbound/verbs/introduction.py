"""What is said before a training: what was found, what was chosen and why, and how to go on."""

import shlex
from pathlib import Path

from lowerbound import recipes
from lowerbound import spec as specs
from lowerbound.job import Job, likelihood_note
from lowerbound.process import program
from lowerbound.verbs.saying import say
from lowerbound.words import counted, noun


def introduce(task: Job, name: str, folder: Path | None = None) -> None:
    """Say what was found, and what was chosen and why; the folder is that of several runs."""
    _say_data(task)
    _say_training(task, name)
    where = folder or task.run.path
    what = "Runs" if folder else "Run"
    say(f"{what}: {where}  (Ctrl-C stops and saves; {program()} resume {shlex.quote(str(where))} goes on)")


def _say_data(task: Job) -> None:
    known, source = task.run.data, task.source
    shape = "×".join(map(str, known["shape"]))
    counts = ", ".join(f"{n:,} {split}" for split, n in known["images"].items())
    say(f"Data: {source.name}, {'images' if len(source.shape) == 3 else 'vectors'} of {shape}: {counts}.")
    if known["origin"]:
        cache = f", kept in {known['cache']}" if "cache" in known else ""
        say(f"  From: {'; '.join(known['origin'])}{cache}.")
    for note in known.get("notes", []):
        say(f"  {note}")


def _say_training(task: Job, name: str) -> None:
    run, plan = task.run, task.plan
    chosen = recipes.recipe(name)
    say(f"Recipe: {name}{_price(run.spec)}: {chosen.about} ({chosen.citation}).")
    parameters = sum(p.numel() for p in task.state.model.parameters())
    note = likelihood_note(task.state.model, task.source)
    say(
        f"Model: {run.spec['latents']} latents, {parameters:,} parameters, {_networks(run.spec)}; "
        f"likelihood {note['name']}{', here ' + note['note'] if note['note'] else ''}."
    )
    say(
        f"Training: {counted(task.total, 'step')} of {plan.batch} ({counted(plan.epochs, 'epoch')}), {plan.optimiser}, "
        f"lr {plan.lr:g} {plan.schedule}, {'bfloat16' if task.state.bfloat16 else 'float32'} on {run.env['device']}, "
        f"{counted(run.env['threads'], 'thread')}, seed {run.spec['seed']}."
    )
    if run.spec["fit"]:
        say(f"Afterwards: a prior is fitted to the codes ({run.spec['fit']['kind']}), in place of the model's own.")
    if why := _few(task):
        say(f"  {why}")


def _few(task: Job) -> str:
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
