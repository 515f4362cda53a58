"""What a test or an example draws depends on no other that ran before it in the same process."""

import pytest


@pytest.fixture(autouse=True)
def _seed() -> None:
    import torch  # here, since tests/conftest.py sets what torch reads when it is loaded

    torch.manual_seed(0)
