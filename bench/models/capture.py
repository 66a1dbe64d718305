"""Attention maps of any network, through forward hooks on its attention cores."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import Tensor, nn

from bench.models.attention import AttentionCore


def attention_cores(model: nn.Module) -> dict[str, AttentionCore]:
    """Return the self-attention cores of a network by module name, in layer order (no cross-attention)."""
    return {
        name: module
        for name, module in model.named_modules()
        if isinstance(module, AttentionCore) and module.grid is not None
    }


@contextmanager
def capture_attention(model: nn.Module) -> Iterator[dict[str, Tensor]]:
    """Collect the maps of each forward pass inside the context: name -> (B, heads, T, T), float32 on the CPU.

    T counts a core's ``extra`` leading tokens (see `attention_cores`). Rows sum to 1; keys outside a window
    are 0. The maps are recomputed from the queries and keys, so the forward pass itself runs as always; a
    second forward pass replaces the maps of the first. The order of names is the order of calls.
    """
    maps: dict[str, Tensor] = {}

    def hook_for(name: str):
        def hook(core: AttentionCore, inputs: tuple[Tensor, Tensor, Tensor], _output: Tensor) -> None:
            maps[name] = core.weights(inputs[0].detach(), inputs[1].detach()).cpu()

        return hook

    handles = [core.register_forward_hook(hook_for(name)) for name, core in attention_cores(model).items()]
    try:
        yield maps
    finally:
        for handle in handles:
            handle.remove()
