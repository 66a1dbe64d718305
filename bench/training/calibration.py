"""Running statistics of normalisation layers, taken again for averaged weights.

An average of weights has other activations than the last weights, whose batches the statistics followed (Izmailov et
al. 2018, section 3.3).
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

BATCHES = 64  # that statistics are averaged over


def normalisations(model: nn.Module) -> list[nn.Module]:
    """Return the layers with running statistics: those with ``reset_running_stats`` and ``momentum``, as in torch."""
    return [
        layer
        for layer in model.modules()
        if hasattr(layer, "reset_running_stats")
        and hasattr(layer, "momentum")
        and [*layer.buffers(recurse=False)]
    ]


@contextlib.contextmanager
def borrowed(model: nn.Module, parameters: list[nn.Parameter], average: list[Tensor]) -> Iterator[None]:
    """Put averaged weights into the model and take everything back afterwards, bit for bit."""
    state = {name: value.clone() for name, value in model.state_dict().items()}
    try:
        with torch.no_grad():
            torch._foreach_copy_(parameters, average)
        yield
    finally:
        model.load_state_dict(state)


def calibrate(model: nn.Module, forward: Callable[[int], object]) -> None:
    """Reset the running statistics and set them to their means over batches: ``forward(k)`` passes batch k.

    All other layers are in evaluation mode meanwhile, the model in training mode afterwards.
    """
    layers = normalisations(model)
    momenta = [layer.momentum for layer in layers]
    model.eval()
    try:
        for layer in layers:
            layer.train()
            layer.reset_running_stats()
            layer.momentum = None  # a cumulative mean
        with torch.no_grad(), torch.compiler.set_stance("force_eager"):
            for batch in range(BATCHES):
                forward(batch)
    finally:
        for layer, momentum in zip(layers, momenta):
            layer.momentum = momentum
        model.train()
