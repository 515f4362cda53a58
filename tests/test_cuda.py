"""The same code on a CUDA device, where there is one."""

import pytest
import torch

import lowerbound
from lowerbound.begin import open_data, plan_job, plan_spec
from lowerbound.train import train

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device here")


@pytest.mark.parametrize("precision", ["float32", "auto"])
def test_training_on_cuda_comes_to_where_the_processor_comes(precision: str) -> None:
    node, source = open_data("digits")
    elbos = {}
    for device in ("cpu", "cuda"):
        spec, _ = plan_spec(node, source, epochs=20, assignments=[f"train.precision={precision}"])
        job = plan_job(spec, source, device)
        assert next(job.state.model.parameters()).device.type == device
        assert job.source.train.x.device.type == device
        if device == "cuda":
            assert job.state.bfloat16 is (precision == "auto")
        for _ in train(job.state, job.source, steps=job.total, batch=job.plan.batch):
            pass
        blocks = job.source.blocks("test")
        elbos[device] = lowerbound.metrics.evaluate(job.judged, job.state.objective, blocks, step=job.total)["elbo"]
    assert abs(elbos["cuda"] - elbos["cpu"]) < 0.5  # nats, of some 25: the noise differs, the training does not
