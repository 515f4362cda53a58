"""How near a training step is to the machine: its floating-point rate over that of a matrix product, and its profile.

    .venv-bench/bin/python benchmarks/limit.py      # about three minutes

The operations of a step are counted from the shapes: two for each multiply-add of a layer forwards, twice as many
backwards (but for the first layer, whose input needs no gradient). Elementwise work counts as nothing. The matrix
product is the fastest of several large ones in the same precision, measured in turn with the steps.
"""

import time
from collections.abc import Callable

from lowerbound.omp import wait_briefly

wait_briefly()  # as the command line does, before torch is loaded

import torch
from common import ratio, save, spread
from contenders import job, source
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile

from lowerbound import train, tune

BATCH, ROUNDS, SIZES = 128, 9, (1024, 2048)


def flops(model: nn.Module, x: Tensor) -> int:
    """Count a step's operations on a batch."""
    counts: list[int] = []

    def count(module: nn.Module, inputs: tuple[Tensor, ...], y: Tensor) -> None:
        if isinstance(module, nn.Conv2d):
            adds = y.numel() * module.weight[0].numel()
        elif isinstance(module, nn.ConvTranspose2d):
            adds = inputs[0].numel() * module.weight[0].numel()
        elif isinstance(module, nn.Linear):
            adds = y.numel() * module.in_features
        else:
            return
        counts.append(2 * adds * (3 if counts else 2))

    handles = [module.register_forward_hook(count) for module in model.modules()]
    model(x)
    for handle in handles:
        handle.remove()
    return sum(counts)


def timed(work: Callable[[], object], seconds: float = 0.5) -> float:
    """Give the seconds of one call, by the mean over half a second of them."""
    work()
    begun, n = time.perf_counter(), 0
    while time.perf_counter() - begun < seconds:
        work()
        n += 1
    return (time.perf_counter() - begun) / n


def main() -> None:
    """Measure both networks in both precisions."""
    tune()
    data = source()
    x, _ = data.batch(0, BATCH, seed=0)
    found = {}
    for precision in ("float32", "bfloat16"):
        dtype = getattr(torch, precision)
        work: dict[str, tuple[int, Callable[[], object]]] = {}
        for n in SIZES:
            a, b = torch.randn(n, n, dtype=dtype), torch.randn(n, n, dtype=dtype)
            work[f"product {n}"] = (2 * n**3, lambda a=a, b=b: a @ b)
        for net in ("conv", "mlp"):
            state = job(net, BATCH, precision, [], data).state
            work[net] = (flops(state.model, x), lambda state=state: train.step(state, x))
        rates: dict[str, list[float]] = {name: [] for name in work}
        for _ in range(ROUNDS):
            for name, (operations, call) in work.items():
                rates[name].append(operations / timed(call) / 1e9)
        best = [max(rates[f"product {n}"][r] for n in SIZES) for r in range(ROUNDS)]
        found[precision] = {
            "GFLOP/s": {name: spread(values) for name, values in rates.items()},
            "over the product": {net: ratio(rates[net], best) for net in ("conv", "mlp")},
            "GFLOP a step": {net: work[net][0] / 1e9 for net in ("conv", "mlp")},
            "profile": {net: shares(work[net][1]) for net in ("conv", "mlp")},
        }
    save("limit", {"batch": BATCH, "rounds": ROUNDS, **found})


def shares(call: Callable[[], object], steps: int = 30) -> dict[str, float]:
    """Give the share of a step's time that each operation takes by itself, the largest first."""
    with profile(activities=[ProfilerActivity.CPU]) as seen:
        for _ in range(steps):
            call()
    rows = sorted(seen.key_averages(), key=lambda row: -row.self_cpu_time_total)
    total = sum(row.self_cpu_time_total for row in rows)
    return {row.key: round(row.self_cpu_time_total / total, 3) for row in rows[:12]}


if __name__ == "__main__":
    main()
