"""What is said after a training: how good the model is, from which weights, and where the report is."""

import shlex
from typing import Any

from lowerbound import seeds
from lowerbound.metrics import fitted_note, headline
from lowerbound.process import program
from lowerbound.report import BEGUN
from lowerbound.run import Run
from lowerbound.verbs.saying import say
from lowerbound.words import counted, noun, number, with_error


def conclude(run: Run) -> None:
    """Say how good it is, from which weights, and where the report is."""
    found = run.metrics
    measured(run)
    last = found.get("test", found.get("validation"))
    if last:
        say(collapse(last, run.history[-1]["step"] if run.history else 0))
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


def conclude_group(group: seeds.Group) -> None:
    """Say what the runs of a group have in common, and how much they differ."""
    if group.over is not None:
        from lowerbound.comparison import command  # it stands above

        command.conclude(group)
        return
    folder, found = group.folder, seeds.spread(group.folder)
    if found is None:
        say(f"\nNo image was held out, so nothing was measured: the runs are in {folder}; each has its report.html.")
        return
    _table(found)
    say(f"\nOver {counted(len(found['seeds']), 'seed')}, on the {found['split']} split (mean ± standard deviation):")
    for name in _columns(found):
        figure, unit = found[name], "latents in use" if name == "active" else "nats"
        label = "" if name == "active" else f"{name} "
        say(f"  {label}{with_error(figure['mean'], figure['deviation'])} {unit}")
    say(f"The runs and {seeds.FILE} are in {folder}; each has its report.html.")


def _columns(found: dict[str, Any]) -> list[str]:
    return [*headline(found), *(["active"] if "active" in found else [])]


def _table(found: dict[str, Any]) -> None:
    """Print the figures of each seed."""
    columns = _columns(found)
    heads = [{"active": "in use"}.get(name, name) for name in columns]
    say(f"\n{found['split'].capitalize()}, in nats:\n  {'seed':>8}" + "".join(f"{head:>12}" for head in heads))
    for i, seed in enumerate(found["seeds"]):
        each = (found[name]["each"][i] for name in columns)
        cells = (f"{value:>12,d}" if isinstance(value, int) else f"{number(value):>12}" for value in each)
        say(f"  {seed:>8}" + "".join(cells))


def measured(run: Run) -> None:
    """Say the figures of each split that was held out."""
    for split in ("validation", "test"):
        if split in run.metrics:
            say(f"{split.capitalize()}: {_figures(run, run.metrics[split])}, from the {run.weights_note}.")
    last = run.metrics.get("test", run.metrics.get("validation"))
    for note in fitted_note(last, run.metrics["fit"]["kind"]) if last and "fit" in run.metrics else []:
        say(note)


def collapse(found: dict[str, Any], steps: int) -> str:
    """Say how many latents are in use, and which have collapsed, where the training is long enough to tell."""
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
