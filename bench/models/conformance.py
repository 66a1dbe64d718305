"""What every network must do, as plain checks on a freshly built one; a user's own file included.

Each check returns nothing when it passes, raises AssertionError with the reason when it fails, `Warn` for what may
be meant, and `Skip` for what a network cannot do by design. A defect that explains others is checked before them.
Zero-initialised tensors are perturbed first, so that no check passes only because the output is zero; rows of a
label table that the batch does not use are excepted.
"""

from __future__ import annotations

import copy
import io
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import jvp

from bench.diffusion.prediction import as_eps, target
from bench.diffusion.schedule import make_schedule
from bench.models.attention import exact_attention
from bench.models.capture import attention_cores, capture_attention
from bench.models.costs import macs, parameters
from bench.models.derivatives import OneDerivative, Products

Build = Callable[[], nn.Module]
Batch = tuple[Tensor, Tensor, Tensor | None]
LARGE = 10  # root mean square of an output, whose target has 1, that is worth a warning
STEPS = 8  # of training on one batch
SCHEDULE = make_schedule("linear", 1000)


class Skip(Exception):
    """A check does not apply to this network; the message says why."""


class Warn(Exception):
    """The network works, but differs from most in a way that is often a mistake."""


class Result(NamedTuple):
    """What one check found."""

    check: str
    status: Literal["pass", "warn", "skip", "fail"]
    reason: str = ""


@dataclass(frozen=True)
class Case:
    """A network under test: how to build it, one built and perturbed, and the images it is meant for."""

    build: Build
    model: nn.Module
    image_size: int
    channels: int

    @property
    def trains(self) -> bool:
        """Whether the network is trained; a control is fitted."""
        return getattr(self.model, "trains", True)

    def batch(self, size: int = 2, seed: int = 0) -> Batch:
        """Return noisy images (B, C, H, W), timesteps, and labels where the network takes them."""
        generator = torch.Generator().manual_seed(seed)
        x = torch.randn(size, self.channels, self.image_size, self.image_size, generator=generator)
        t = torch.randint(0, 1000, (size,), generator=generator)
        classes = getattr(self.model, "num_classes", 0)
        y = torch.randint(0, classes, (size,), generator=generator) if classes else None
        return x, t, y

    @cached_property
    def trained(self) -> dict[str, tuple[nn.Module, list[float]]]:
        """The network after STEPS steps on one batch, and its losses, for each target that it can learn."""
        fixed = getattr(self.model, "learned_sigma", False) or getattr(self.model, "predicts_noise", False)
        return {name: self._train(name) for name in (("eps",) if fixed else ("eps", "v", "x0"))}

    def _train(self, prediction: str) -> tuple[nn.Module, list[float]]:
        torch.manual_seed(3)
        model = self.build().train()
        noise, t, y = self.batch(4)
        images = torch.rand(noise.shape, generator=torch.Generator().manual_seed(4)) * 2 - 1
        wanted = target(prediction, SCHEDULE, images, t, noise)
        own = [p for p in model.parameters() if p.requires_grad]
        optimiser, losses = torch.optim.AdamW(own, lr=1e-3, weight_decay=0), []
        for _ in range(STEPS):
            loss = (model(SCHEDULE.q_sample(images, t, noise), t, y) - wanted).square().mean()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            losses.append(loss.item())
        return model.eval(), losses


def perturb(model: nn.Module, seed: int = 0) -> nn.Module:
    """Give every all-zero parameter small normal values, in place."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            if not parameter.any():
                parameter.add_(0.05 * torch.randn(parameter.shape, generator=generator))
    return model


def check_precision(case: Case) -> None:
    for name, parameter in case.model.named_parameters():
        kind = str(parameter.dtype).removeprefix("torch.")
        assert parameter.dtype == torch.float32, f"{name} is {kind}; build the network in float32"


def check_shapes(case: Case) -> None:
    for size in (1, 3):
        x, t, y = case.batch(size)
        out = case.model(x, t, y)
        assert out.shape == x.shape, f"forward gives {tuple(out.shape)} for images of {tuple(x.shape)}"
        assert out.dtype == x.dtype, f"forward gives {out.dtype} for {x.dtype}"
        assert out.isfinite().all(), "the output is not finite"
    if getattr(case.model, "learned_sigma", False):
        raw = case.model.raw(x, t, y)
        assert raw.shape == (3, 2 * case.channels, *x.shape[2:]), f"raw gives {tuple(raw.shape)}"
        assert torch.equal(raw[:, : case.channels], out), "forward is not the first half of raw"
    elif hasattr(case.model, "raw"):
        assert torch.equal(case.model.raw(x, t, y), out), "without learned_sigma, raw must equal forward"


def check_evaluation_mode(case: Case) -> None:
    batch = case.batch()
    model = copy.deepcopy(case.model).eval()
    stored = {name: value.clone() for name, value in model.state_dict().items()}
    first, second = model(*batch), model(*batch)
    for name, value in model.state_dict().items():
        assert torch.equal(value, stored[name]), f"evaluation changes {name}"
    assert torch.equal(first, second), (
        "two forward passes in evaluation mode differ: something stays random, for instance dropout that ignores eval()"
    )
    model.train()
    assert torch.equal(model.eval()(*batch), first), "the output changes after train() and eval()"


def check_determinism(case: Case) -> None:
    states = []
    for _ in range(2):
        torch.manual_seed(7)
        states.append(case.build().state_dict())
    assert states[0].keys() == states[1].keys(), "two builds have different parameters"
    for name, value in states[0].items():
        assert torch.equal(value, states[1][name]), f"{name} differs between two builds from one seed"


def check_batch_independence(case: Case) -> None:
    x, t, y = case.batch(3)
    together = case.model(x, t, y)
    for i in range(3):
        alone = case.model(x[i : i + 1], t[i : i + 1], None if y is None else y[i : i + 1])
        error = _distance(alone[0], together[i])
        assert error < 1e-4, f"image {i} depends on the rest of its batch (relative difference {error:.1e})"


def check_time(case: Case) -> None:
    _needs_training(case)
    x, _, y = case.batch()
    early, late = (case.model(x, torch.full((2,), t), y) for t in (10, 900))
    if _distance(early, late) < 1e-6:
        raise Warn("the output does not depend on t: right for a blind network, a mistake in any other")


def check_gradients(case: Case) -> None:
    _needs_training(case)
    x, t, y = case.batch()
    model = copy.deepcopy(case.model)
    out = model.raw(x, t, y) if getattr(model, "learned_sigma", False) else model(x, t, y)
    (out * torch.randn(out.shape, generator=torch.Generator().manual_seed(1))).sum().backward()
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            assert parameter.grad is not None, f"no gradient reaches {name}"
            assert parameter.grad.isfinite().all(), f"the gradient of {name} is not finite"
            assert parameter.grad.any(), f"the gradient of {name} is zero"


def check_bfloat16(case: Case) -> None:
    batch = case.batch()
    exact = case.model(*batch)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rounded = case.model(*batch).float()
    assert rounded.isfinite().all(), "the output is not finite under bfloat16 autocast"
    error = _distance(rounded, exact)
    assert error < 0.1, f"bfloat16 autocast is {error:.2f} away from float32"


def check_state_dict(case: Case) -> None:
    batch = case.batch()
    buffer = io.BytesIO()
    torch.save(case.model.state_dict(), buffer)
    buffer.seek(0)
    other = case.build().eval()
    other.load_state_dict(torch.load(buffer, weights_only=True))
    assert torch.equal(other(*batch), case.model(*batch)), (
        "the output changes when weights are stored and loaded"
    )
    tensors = [v for v in case.model.state_dict().values() if v.numel()]
    assert len({v.data_ptr() for v in tensors}) == len(tensors), "two stored tensors share memory"


def check_derivatives(case: Case) -> None:
    x, t, y = case.batch(1)
    generator = torch.Generator().manual_seed(2)
    u, v = (torch.randn(x.shape, generator=generator) for _ in range(2))

    def function(z: Tensor) -> Tensor:
        return case.model(z, t, y)

    try:
        products = Products(function, x)  # as the leading values of a Jacobian are measured
        with exact_attention():
            pushed = jvp(function, (x,), (v,))[1].detach()
    except (NotImplementedError, OneDerivative) as error:
        raise Skip(f"no derivative: {str(error).splitlines()[0]}") from error
    except RuntimeError:  # views that forward mode refuses, as in diffusers; no measurement uses it
        pushed = torch.from_numpy(products.forward(v.numpy())).to(x).view(x.shape)
    forward = float((u * pushed).double().sum())
    reverse = float(products.backward(u.numpy()) @ v.double().flatten().numpy())
    size = float(u.norm() * pushed.norm())
    assert abs(forward - reverse) <= 1e-4 * size, f"u'(J v) = {forward:.6g} but (J'u)'v = {reverse:.6g}"
    out = case.model(x, t, y)
    with exact_attention():
        moved = _distance(case.model(x, t, y), out)
    assert moved < 1e-4, f"explicit attention changes the output by {moved:.1e}"


def check_attention_maps(case: Case) -> None:
    cores = attention_cores(case.model)
    if not cores:
        raise Skip("no self-attention")
    batch = case.batch()
    before = case.model(*batch)
    with capture_attention(case.model) as maps:
        after = case.model(*batch)
    assert torch.equal(before, after), "capturing maps changes the output"
    assert maps.keys() == cores.keys(), f"maps of {sorted(maps)} but layers {sorted(cores)}"
    for name, weights in maps.items():
        assert (weights >= 0).all() and (weights.sum(-1) - 1).abs().max() < 1e-5, (
            f"rows of {name} do not sum to 1"
        )
        mask = cores[name].mask(weights.device)
        assert mask is None or not weights[..., ~mask].any(), f"{name} looks outside its window"


def check_learning(case: Case) -> None:
    _needs_training(case)
    for prediction, (_, losses) in case.trained.items():
        assert losses[-1] < losses[0], (
            f"{STEPS} steps on one batch do not lower the loss of {prediction}: {losses[0]:.4g} to {losses[-1]:.4g}"
        )


def check_targets(case: Case) -> None:
    _needs_training(case)
    x, t, y = case.batch(3)
    for prediction in case.trained:
        out = as_eps(copy.deepcopy(case.model), SCHEDULE, prediction)(x, t, y)
        assert out.shape == x.shape and out.isfinite().all(), f"read as {prediction}, eps is not finite"


def check_scale(case: Case) -> None:
    _needs_training(case)
    x, _, y = case.batch(4)
    models = [("at initialisation", case.build().eval())]
    models += [(f"after {STEPS} steps", model) for model, _ in case.trained.values()]
    for when, model in models:
        with torch.no_grad():
            size = model(x, torch.full((4,), 500), y).square().mean().sqrt().item()
        if not size < LARGE:
            raise Warn(f"the output is {size:.0f} times as large as the noise {when}; check the last layer")


def check_counts(case: Case) -> None:
    count = macs(case.model, case.image_size, case.channels)
    assert count.total >= count.without_attention >= 0, f"impossible multiply-adds {count}"
    if case.trains:
        assert parameters(case.model) > 0, "no trainable parameters"
        assert count.total > 0, "no multiply-adds were counted"


def check_compile(case: Case) -> None:
    batch = case.batch()
    torch.compiler.reset()
    error = _distance(torch.compile(copy.deepcopy(case.model))(*batch), case.model(*batch))
    assert error < 1e-4, f"torch.compile changes the output by {error:.1e}"


CHECKS = (
    check_precision,
    check_shapes,
    check_evaluation_mode,
    check_determinism,
    check_batch_independence,
    check_time,
    check_gradients,
    check_state_dict,
    check_bfloat16,
    check_derivatives,
    check_attention_maps,
    check_learning,
    check_targets,
    check_scale,
    check_counts,
)
_WITH_GRADIENT = {"gradients", "derivatives", "learning", "targets", "scale", "compile"}


def run(build: Build, image_size: int, channels: int, compiled: bool = False) -> list[Result]:
    """Run the suite on networks that ``build()`` returns, for square images; ``compiled`` adds torch.compile.

    A control without training (``trains = False``) is fitted to random images first.
    """
    torch.manual_seed(0)
    model = prepare(build(), image_size, channels)
    case = Case(lambda: prepare(build(), image_size, channels, fresh=True), model, image_size, channels)
    return [_run_one(check, case) for check in (*CHECKS, *((check_compile,) if compiled else ()))]


def prepare(model: nn.Module, image_size: int, channels: int, fresh: bool = False) -> nn.Module:
    """Return the network ready for a forward pass, in evaluation mode; ``fresh`` keeps its initial values."""
    if not getattr(model, "trains", True):
        shape = (8, image_size, image_size, channels)
        images = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
        if image_size == 1:  # vectors
            images = (images[:, 0, 0] / 127.5 - 1).astype(np.float32)
        model.fit(images, SCHEDULE)
    return model.eval() if fresh else perturb(model).eval()


def _run_one(check: Callable[[Case], None], case: Case) -> Result:
    name = check.__name__.removeprefix("check_")
    try:
        with torch.set_grad_enabled(name in _WITH_GRADIENT):
            check(case)
    except Skip as skip:
        return Result(name, "skip", str(skip))
    except Warn as warning:
        return Result(name, "warn", str(warning))
    except AssertionError as error:
        return Result(name, "fail", str(error))
    except Exception as error:  # a user's network may raise anything; the report names it
        return Result(name, "fail", f"{type(error).__name__}: {error}")
    return Result(name, "pass")


def _needs_training(case: Case) -> None:
    if not case.trains:
        raise Skip("a control without training")


def _distance(a: Tensor, b: Tensor) -> float:
    """Return the largest difference relative to the largest value of ``b``."""
    return ((a - b).abs().max() / b.abs().max().clamp_min(1e-12)).item()
