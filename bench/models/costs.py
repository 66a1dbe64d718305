"""Size and cost of a network: trainable parameters and multiply-adds of one forward pass of one image.

One GMAC is 1e9 multiply-adds; the "Gflops" of the DiT, U-DiT and ADM tables are GMACs. Counters differ in
whether they see the attention products Q K^T and A V, so both counts are given. With windows, only the
(query, key) pairs that the window keeps are counted: the work that is needed, not what a masked dense
product would waste.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from bench.models.attention import AttentionCore, skipped_products
from bench.models.registry import build
from bench.models.spec import ModelSpec
from bench.support.errors import BenchError


class Macs(NamedTuple):
    """Multiply-adds per image and forward pass."""

    total: int
    without_attention: int  # attention products Q K^T and A V left out; projections count


def parameters(model: nn.Module) -> int:
    """Return the number of trainable parameters."""
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


@torch.no_grad()
def macs(model: nn.Module, image_size: int, channels: int) -> Macs:
    """Count the multiply-adds of one image in evaluation mode; the model may live on the meta device."""
    tensor = next(model.parameters(), next(model.buffers(), torch.empty(0)))
    x = torch.zeros(1, channels, image_size, image_size, device=tensor.device)
    t = torch.zeros(1, dtype=torch.int64, device=tensor.device)
    y = t if getattr(model, "num_classes", 0) else None
    products = 0

    def add_products(core: AttentionCore, inputs: tuple[Tensor, Tensor, Tensor], _output: Tensor) -> None:
        nonlocal products
        q, k, v = inputs
        pairs = q.shape[0] * q.shape[1] * core.products(q.shape[2], k.shape[2])
        products += pairs * (q.shape[3] + v.shape[3])

    cores = [m for m in model.modules() if isinstance(m, AttentionCore)]
    handles = [core.register_forward_hook(add_products) for core in cores]
    training = model.training
    model.eval()
    try:
        with skipped_products(), FlopCounterMode(display=False) as counter:
            model(x, t, y)
    finally:
        model.train(training)
        for handle in handles:
            handle.remove()
    rest = counter.get_total_flops() // 2
    return Macs(rest + products, rest)


class Size(NamedTuple):
    """Trainable parameters, and multiply-adds of one image with and without the attention products."""

    parameters: int
    macs: int
    macs_without_attention: int = 0


def size_of(spec: ModelSpec, image_size: int, channels: int) -> Size:
    """Return the size of a network for one image; nothing is allocated.

    A control without parameters is of size 0: its work depends on what it is fitted to. Raises BenchError as
    `build` does, and where the forward pass fails.
    """
    with torch.device("meta"):
        model = build(spec, image_size, channels)
    if not getattr(model, "trains", True):
        return Size(0, 0, 0)
    try:
        count = macs(model, image_size, channels)
    except Exception as error:  # of a user's network, or of a size that builds and then does not fit
        reason = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
        raise BenchError(
            f"Model {spec.name!r} builds, but its forward pass fails for {image_size}x{image_size}x{channels} images "
            f"({reason}); change its options or fix {spec.file or 'the network'}."
        ) from error
    return Size(parameters(model), count.total, count.without_attention)
