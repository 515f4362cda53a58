"""What is set for the whole process is asked for, recorded and undone; the precision is what the device multiplies."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import lowerbound
from commandline import ENV, call, run, saved
from lowerbound import process
from lowerbound.errors import UsageError

SHORT = ("--epochs", "0.5", "--set", "train.batch=32")
SLOW_TO_LOAD = """
import sys, lowerbound.cli
code = lowerbound.cli.main(sys.argv[1:])
print(code, *sorted({"torch._dynamo", "torch._inductor", "sklearn", "sympy"} & sys.modules.keys()))
"""


def test_tune_says_what_it_set_and_sets_it() -> None:
    torch.use_deterministic_algorithms(True, warn_only=True)  # which is less than what is asked for next
    for deterministic in (True, False):
        found = lowerbound.tune(deterministic=deterministic)
        assert found["deterministic"] is torch.are_deterministic_algorithms_enabled() is deterministic
        assert not torch.is_deterministic_algorithms_warn_only_enabled()
    assert found["threads"] == torch.get_num_threads()
    assert torch.tensor(torch.finfo(torch.float32).tiny / 2) * 1 == 0


@pytest.mark.parametrize(
    ("able", "expected"),
    [
        ({}, "float32"),
        ({"avx512_f": True}, "float32"),
        ({"avx512_bf16": True}, "bfloat16"),
        ({"amx_bf16": True}, "bfloat16"),
    ],
)
def test_precision_is_what_the_processor_multiplies(
    able: dict[str, bool], expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: able)
    assert process.precision(torch.device("cpu")) == expected
    assert process.precision(torch.device("meta")) == "float32"


def test_a_training_loads_no_compiler_and_no_scikit_learn(tmp_path: Path) -> None:
    """Each takes as long as all of a short training, which has no use for it."""
    words = ("train", "digits", "--epochs", "0.1", "--out", tmp_path / "run")
    done = subprocess.run([sys.executable, "-c", SLOW_TO_LOAD, *words], capture_output=True, text=True, env=ENV)
    assert (done.stderr, done.stdout.splitlines()[-1]) == ("", "0")


def test_a_run_writes_out_what_auto_chose(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for able, expected in (({}, "float32"), ({"avx512_bf16": True}, "bfloat16")):
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda able=able: able)
        path = tmp_path / expected
        assert call("train", "digits", "--out", path, *SHORT) == 0
        assert json.loads((path / "spec.json").read_bytes())["train"]["precision"] == expected


def test_the_plain_path_is_chosen_recorded_and_resumed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    plain = ("train", "digits", "--precision", "float32", "--deterministic", *SHORT)
    assert call(*plain, "--out", "whole") == 0
    assert "float32 on cpu" in capsys.readouterr().out
    spec = json.loads(Path("whole/spec.json").read_bytes())["train"]
    assert (spec["precision"], spec["deterministic"]) == ("float32", True)
    assert json.loads(Path("whole/env.json").read_bytes())["settings"]["deterministic"] is True
    assert run(*plain, "--set", "train.save=10", "--out", "again")[0] == 0
    *_, before, last = saved(Path("again"))
    assert 0 < before < last
    assert run("resume", "again", "--at", str(before))[0] == 0
    for name in ("weights.safetensors", "history.jsonl"):
        assert Path("again", name).read_bytes() == Path("whole", name).read_bytes()


def test_deterministic_without_the_process_is_refused_in_words() -> None:
    with pytest.raises(UsageError, match=r"lowerbound\.tune\(deterministic=True\)"):
        lowerbound.fit("digits", set=["train.deterministic=true"])
