"""What an explanation must leave as it was: all that can be told of a module from outside."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from support.models import Net, build


def state(module: nn.Module) -> dict[str, object]:
    """All that an explanation might disturb, compared with ==."""
    hooks = [name for name in vars(module) if name.endswith(("_hooks", "_hooks_with_kwargs", "_hooks_always_called"))]
    assert "_forward_hooks" in hooks
    return {
        "training": {name: inner.training for name, inner in module.named_modules()},
        "requires_grad": {name: p.requires_grad for name, p in module.named_parameters()},
        "grad": {name: None if p.grad is None else p.grad.tolist() for name, p in module.named_parameters()},
        "values": {name: value.tolist() for name, value in module.state_dict().items()},
        "same": {name: id(p) for name, p in module.named_parameters()},
        "hooks": {(name, kind): list(getattr(inner, kind)) for name, inner in module.named_modules() for kind in hooks},
        "random": torch.get_rng_state().tolist(),
        "modes": (torch.is_grad_enabled(), torch.is_inference_mode_enabled(), torch.is_autocast_enabled("cpu")),
    }


@contextmanager
def untouched(module: nn.Module) -> Iterator[None]:
    before = state(module)
    yield
    after = state(module)
    for part in before:
        assert after[part] == before[part], part


class Random(nn.Module):
    """Draws random numbers while it runs, like stochastic depth that forgot to look at ``training``."""

    def forward(self, x: Tensor) -> Tensor:
        return x + 0 * torch.rand_like(x)


def disturbing_net(kind: type[Net]) -> Net:
    """A net in mixed modes, partly frozen, with gradients and a user's hook on it."""
    net = build(kind)
    assert isinstance(net, Net)
    net.train()
    net.norm_of_user = Random()
    for module in list(net.modules())[2::3]:
        module.eval()
    for index, parameter in enumerate(net.parameters()):
        parameter.requires_grad_(index % 2 == 0)
        if index % 3 == 0:
            parameter.grad = torch.full_like(parameter, index)
    net.register_forward_hook(lambda module, args, output: module.norm_of_user(output))
    return net
