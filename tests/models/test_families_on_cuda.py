"""Every family on a CUDA device: forward and backward as on the CPU, in float32 and bfloat16; windows as the dense mask."""

from __future__ import annotations

import pytest
import torch
from test_every_family import SIDES, TINY

from bench.models.attention import AttentionCore, exact_attention
from bench.models.registry import build
from bench.models.spec import ModelSpec

pytestmark = [
    pytest.mark.cuda,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]


@pytest.fixture(autouse=True)
def no_tf32(monkeypatch):
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)  # as measurements have it


def both_passes(model, x, t, precision=None):
    """Return the output and the gradients of all parameters, in float64 on the CPU."""
    with torch.autocast(x.device.type, precision, enabled=precision is not None):
        out = model(x, t)
    model.zero_grad()
    (out.float() * torch.linspace(-1, 1, out.numel(), device=x.device).view_as(out)).sum().backward()
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    return [value.detach().double().cpu() for value in (out, *gradients)]


def distance(found, wanted):
    """Return the relative distance of all values together."""
    found, wanted = (torch.cat([v.flatten() for v in values]) for values in (found, wanted))
    return float((found - wanted).norm() / wanted.norm())


@pytest.mark.parametrize("family", TINY)
def test_forward_and_backward_agree_with_the_cpu(family):
    torch.manual_seed(0)
    side = SIDES.get(family, 8)
    model = build(ModelSpec("tiny", family, TINY[family]), side, 3)
    with torch.no_grad():
        for parameter in model.parameters():  # zero-initialised heads would hide the network
            parameter.add_(0.05 * torch.randn_like(parameter))
    x, t = torch.randn(4, 3, side, side), torch.tensor([0, 10, 500, 999])
    wanted = both_passes(model, x, t)
    model.cuda()
    assert distance(both_passes(model, x.cuda(), t.cuda()), wanted) < 1e-4
    assert distance(both_passes(model, x.cuda(), t.cuda(), torch.bfloat16), wanted) < 0.05


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(
    ("grid", "window", "width"),
    [((32, 32), 3, 63), ((32, 32), 13, 64), ((20, 27), 5, 32), ((16, 16), 5, 63), ((8, 8), None, 63)],
)
def test_attention_agrees_with_the_explicit_softmax(grid, window, width, precision):
    torch.manual_seed(0)
    shape = (2, 3, grid[0] * grid[1], width)
    q, k, v = (torch.randn(shape, device="cuda", dtype=precision, requires_grad=True) for _ in range(3))
    core, weight = AttentionCore(grid, window), torch.randn(shape, device="cuda")
    found = core(q, k, v)
    found = [found, *torch.autograd.grad((found.float() * weight).sum(), (q, k, v))]
    q, k, v = (x.detach().double().requires_grad_() for x in (q, k, v))
    with exact_attention():
        wanted = core(q, k, v)
        wanted = [wanted, *torch.autograd.grad((wanted * weight).sum(), (q, k, v))]
    limit = 1e-5 if precision == torch.float32 else 0.02
    for a, b in zip(found, wanted, strict=True):
        assert distance([a.double()], [b]) < limit
