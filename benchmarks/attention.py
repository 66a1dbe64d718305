"""Attention in windows, forward and backward: tiles, the dense mask and, on CUDA, FlexAttention, against global attention.

``python benchmarks/attention.py [--device cuda] [--batch 64]``. Heads as in DiT-S: 6 of width 64.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator

import torch
from timing import Table, medians, parser
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from bench.models.attention import AttentionCore, exact_attention, window_mask
from bench.models.local_attention import tiled_attention

HEADS, WIDTH = 6, 64
CASES = [(32, 3), (32, 5), (32, 9), (32, 13), (16, 5), (64, 3), (64, 7)]  # side of the token grid, window
Attend = Callable[..., Tensor]


def main() -> None:
    """Parse the arguments and print the table."""
    made = parser(__doc__)
    made.add_argument("--batch", type=int, default=1)
    made.add_argument("--precision", nargs="+", default=["float32"], choices=("float32", "bfloat16"))
    made.add_argument("--sides", nargs="+", type=int, default=[16, 32, 64], help="sides of the token grid")
    arguments = made.parse_args()
    columns = [
        "tokens",
        "window",
        "precision",
        "way",
        "ms",
        "times global",
        "times dense mask",
        "relative error",
    ]
    table = Table(arguments, columns, batch=arguments.batch, heads=HEADS, width=WIDTH)
    for precision in arguments.precision:
        for side, window in CASES:
            if side in arguments.sides:
                for row in case(arguments, side, window, precision):
                    table.add(f"{side}x{side}", window, precision, *row)


def case(arguments: argparse.Namespace, side: int, window: int, precision: str) -> Iterator[tuple]:
    """Yield way, milliseconds, ratios to global and dense, and the distance to the explicit softmax in float32."""
    shape = (arguments.batch, side * side, 3, HEADS, WIDTH)
    qkv = torch.randn(shape, device=arguments.device, dtype=getattr(torch, precision), requires_grad=True)
    ways = candidates(side, window, arguments.device, precision)
    times = [timed(attend, qkv, arguments) for attend in ways.values()]
    core = AttentionCore((side, side), window)
    with exact_attention(), torch.no_grad():
        wanted = core(*heads(qkv[:1].float()))
    for (way, attend), seconds in zip(ways.items(), times, strict=True):
        if isinstance(seconds, str):
            yield way, seconds, "", "", ""
            continue
        with torch.no_grad():
            found = attend(*heads(qkv[:1])).float()
        error = "" if way == "global" else float((found - wanted).norm() / wanted.norm())
        yield way, 1e3 * seconds, *(seconds / t if isinstance(t, float) else "" for t in times[:2]), error


def candidates(side: int, window: int, device: str, precision: str) -> dict[str, Attend]:
    """Return the ways to attend: global first, the dense mask second."""
    grid = (side, side)
    mask = window_mask(grid, window, 0, torch.device(device))
    ways: dict[str, Attend] = {
        "global": scaled_dot_product_attention,
        "dense mask": lambda *x: scaled_dot_product_attention(*x, attn_mask=mask),
        "tiles": lambda *x: tiled_attention(*x, grid, window, 0, WIDTH**-0.5),
    }
    if device.startswith("cuda") and precision == "bfloat16":
        ways["FlexAttention"] = flex(mask)
    return ways


def flex(mask: Tensor) -> Attend:
    """Return FlexAttention compiled for one mask."""
    from torch.nn.attention.flex_attention import create_block_mask, flex_attention

    blocks = create_block_mask(lambda b, h, q, k: mask[q, k], None, None, *mask.shape, device=mask.device)
    compiled = torch.compile(flex_attention, dynamic=False)
    return lambda q, k, v: compiled(q, k, v, block_mask=blocks)


def timed(attend: Attend, qkv: Tensor, arguments: argparse.Namespace) -> float | str:
    """Return the median seconds of both passes, from and to the layout of a network, or what went wrong."""

    def work() -> object:
        out = attend(*heads(qkv)).transpose(1, 2).flatten(2)
        return torch.autograd.grad(out, qkv, torch.ones_like(out))

    try:
        return medians([work], arguments.device, arguments.rounds)[0]
    except Exception as error:  # a kernel that this device lacks is a result
        return f"{type(error).__name__}: {str(error).splitlines()[0][:100]}"


def heads(qkv: Tensor) -> tuple[Tensor, ...]:
    return tuple(qkv.permute(2, 0, 3, 1, 4))


if __name__ == "__main__":
    main()
