"""Attention in windows: the tiled path against the dense mask, and every mode against explicit softmax."""

from __future__ import annotations

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn.functional import scaled_dot_product_attention

from bench.models import local_attention
from bench.models.attention import AttentionCore, exact_attention, skipped_products, window_mask
from bench.models.capture import attention_cores, capture_attention

CPU = torch.device("cpu")


def tokens(grid, extra=0, batch=2, heads=3, width=8, seed=0):
    generator = torch.Generator().manual_seed(seed)
    shape = (3, batch, heads, extra + grid[0] * grid[1], width)
    return [x.requires_grad_() for x in torch.randn(shape, generator=generator)]


def with_gradients(function, q, k, v):
    """Return the output and the three gradients of one weighted sum of it."""
    out = function(q, k, v)
    weight = torch.randn(out.shape, generator=torch.Generator().manual_seed(9))
    return out, *torch.autograd.grad(out, [q, k, v], weight)


def assert_same(found, expected, tolerance=1e-5):
    for a, b in zip(found, expected, strict=True):
        assert (a - b).abs().max() <= tolerance * max(1.0, b.abs().max().item())


def brute_force_mask(grid, window, extra):
    places = [None] * extra + list(itertools.product(range(grid[0]), range(grid[1])))
    reach = window // 2
    return torch.tensor(
        [
            [a is None or b is None or max(abs(a[0] - b[0]), abs(a[1] - b[1])) <= reach for b in places]
            for a in places
        ]
    )


@pytest.mark.parametrize(
    ("grid", "window", "extra"), [((4, 4), 3, 0), ((3, 5), 3, 2), ((1, 7), 5, 1), ((6, 2), 1, 0)]
)
def test_mask_is_the_window_clipped_at_the_border(grid, window, extra):
    mask = window_mask(grid, window, extra, CPU)
    assert torch.equal(mask, brute_force_mask(grid, window, extra))
    assert AttentionCore(grid, window, extra).products(0, 0) == mask.sum()


def test_corner_of_a_3x3_window_keeps_four_keys():
    kept = window_mask((4, 4), 3, 0, CPU).sum(1).view(4, 4)
    assert kept.tolist() == [[4, 6, 6, 4], [6, 9, 9, 6], [6, 9, 9, 6], [4, 6, 6, 4]]


@settings(max_examples=40, deadline=None)
@given(
    rows=st.integers(1, 21),
    columns=st.integers(1, 21),
    window=st.integers(0, 9).map(lambda r: 2 * r + 1),
    extra=st.integers(0, 2),
    batch=st.integers(1, 2),
)
def test_tiled_equals_dense_forward_and_backward(rows, columns, window, extra, batch):
    grid, scale = (rows, columns), 8**-0.5
    q, k, v = tokens(grid, extra, batch)
    mask = window_mask(grid, window, extra, CPU)
    dense = with_gradients(lambda *x: scaled_dot_product_attention(*x, attn_mask=mask), q, k, v)
    tiled = with_gradients(
        lambda *x: local_attention.tiled_attention(*x, grid, window, extra, scale), q, k, v
    )
    assert_same(tiled, dense)


@pytest.mark.parametrize("window", [3, 5, 7, 9, 11, 13])
def test_the_core_takes_the_tiled_path_on_the_papers_grid(window, monkeypatch):
    grid = (32, 32)
    q, k, v = tokens(grid, batch=1, heads=1, width=63)
    core = AttentionCore(grid, window)
    assert local_attention.tiles_pay(grid, CPU, torch.float32)
    fast = with_gradients(core, q, k, v)
    with exact_attention():
        assert_same(fast, with_gradients(core, q, k, v))


@pytest.mark.parametrize(
    ("device", "dtype", "side", "pays"),
    [
        ("cpu", torch.float32, 8, False),
        ("cpu", torch.float32, 32, True),
        ("cuda", torch.float32, 16, False),
        ("cuda", torch.float32, 32, True),
        ("cuda", torch.bfloat16, 32, False),
        ("cuda", torch.bfloat16, 64, True),
        ("meta", torch.float32, 64, False),
    ],
)
def test_tiles_are_taken_where_they_are_faster(device, dtype, side, pays):
    assert local_attention.tiles_pay((side, side), torch.device(device), dtype) is pays


def test_tile_shape_follows_the_window():
    assert local_attention.tile_shape((32, 32), 3) == (8, 8)
    assert local_attention.tile_shape((32, 32), 13) == (4, 32)
    assert local_attention.tile_shape((3, 64), 3) == (3, 8)


@pytest.mark.parametrize("window", [None, 3])
@pytest.mark.parametrize("scale", [None, 1.0, 0.3])
def test_weights_are_what_forward_uses(window, scale):
    grid, extra = (4, 5), 1
    q, k, v = tokens(grid, extra)
    core = AttentionCore(grid, window, extra, scale)
    weights = core.weights(q, k)
    assert weights.shape == (2, 3, 21, 21)
    assert (weights.sum(-1) - 1).abs().max() < 1e-6
    assert_same([weights @ v], [core(q, k, v)])
    if window:
        assert weights[..., ~window_mask(grid, window, extra, CPU)].count_nonzero() == 0


@pytest.mark.parametrize("grid", [(3, 3), (16, 16)])
def test_forward_mode_derivative_and_vmap(grid):
    q, k, v = (x.detach() for x in tokens(grid, batch=1, heads=1, width=4))
    core = AttentionCore(grid, 3)
    tangent = torch.randn(q.shape, generator=torch.Generator().manual_seed(3))
    with exact_attention():
        _, pushed = torch.func.jvp(lambda x: core(x, k, v), (q,), (tangent,))
        _, pull = torch.func.vjp(lambda x: core(x, k, v), q)
        rows = torch.func.vmap(pull)(torch.stack([tangent, 2 * tangent]))[0]
    _, fast_pull = torch.func.vjp(lambda x: core(x, k, v), q)
    assert_same([rows[0], rows[1] / 2], [fast_pull(tangent)[0]] * 2)
    assert torch.isclose((tangent * pushed).sum(), (rows[0] * tangent).sum(), rtol=1e-4)


@pytest.mark.parametrize("grid", [(4, 4), (16, 16)])
def test_mask_made_in_inference_mode_serves_training(grid):
    core = AttentionCore(grid, 7)
    q, k, v = tokens(grid)
    with torch.inference_mode():
        core(q.detach(), k.detach(), v.detach())
    core(q, k, v).sum().backward()
    with exact_attention():
        core(q, k, v).sum().backward()


def test_modes_end_with_their_context():
    core, (q, k, v) = AttentionCore((2, 2)), tokens((2, 2))
    with pytest.raises(RuntimeError, match="inside"), skipped_products():
        assert core(q, k, v) is q
        raise RuntimeError("inside")
    assert_same([core(q, k, v)], [scaled_dot_product_attention(q, k, v)])


@pytest.mark.parametrize(
    ("arguments", "message"), [(((4, 4), 2), "odd"), (((4, 4), -1), "odd"), ((None, 3), "needs a grid")]
)
def test_bad_windows_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        AttentionCore(*arguments)


def test_capture_names_layers_in_order_and_leaves_no_hook():
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b, self.cross = AttentionCore((3, 3), 3), AttentionCore((3, 3)), AttentionCore(None)

        def forward(self, q, k, v):
            return self.cross(self.b(self.a(q, k, v), k, v), k[:, :, :2], v[:, :, :2])

    model, inputs = Two(), tokens((3, 3))
    with capture_attention(model) as maps:
        model(*inputs)
    assert list(maps) == ["a", "b"] == list(attention_cores(model))
    assert torch.equal(maps["a"], model.a.weights(*inputs[:2]))
    assert not any(m._forward_hooks for m in model.modules())
    kept = dict(maps)
    model(*inputs)
    assert maps == kept


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_tiled_path_in_other_precisions(dtype):
    q, k, v = (x.detach().to(dtype) for x in tokens((13, 14)))
    out = AttentionCore((13, 14), 5)(q, k, v)
    assert out.dtype == dtype
    with exact_attention():
        exact = AttentionCore((13, 14), 5)(q.double(), k.double(), v.double())
    assert_same([out.double()], [exact], 2e-2 if dtype == torch.bfloat16 else 1e-12)


def test_tiled_path_can_be_differentiated_twice_over_one_graph():
    q, k, v = tokens((13, 14))
    out = AttentionCore((13, 14), 3)(q, k, v)
    first = torch.autograd.grad(out[0, 0, 0, 0], [q, k, v], retain_graph=True)
    assert_same(torch.autograd.grad(out[0, 0, 0, 0], [q, k, v]), first, 0)
