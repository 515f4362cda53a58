"""torch's Adam and AdamW, without torch's compiler: to import it takes longer than to import all the rest.

torch's optimisers load it only to tell it to leave them alone, when they are made.
"""

import inspect
from typing import final

import torch


def _uncompiled(kind: type[torch.optim.Adam]) -> type[torch.optim.Adam]:
    methods = ("step", "zero_grad", "add_param_group", "state_dict", "load_state_dict")
    plain = {name: inspect.unwrap(getattr(kind, name)) for name in methods}
    plain["step"] = torch.no_grad()(plain["step"])  # which is what else the wrapper does
    return final(type(kind.__name__, (kind,), plain))


Adam = _uncompiled(torch.optim.Adam)
AdamW = _uncompiled(torch.optim.AdamW)
