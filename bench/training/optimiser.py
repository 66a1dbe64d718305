"""The update of one step: optimiser, learning rate and weight average as functions of the step."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from bench.training.options import TrainingOptions


def make_optimiser(parameters: list[nn.Parameter], options: TrainingOptions) -> torch.optim.Optimizer:
    """Return AdamW or SGD with momentum, fused; its rate is set at every step by :func:`update`."""
    common = {"lr": options.learning_rate, "weight_decay": options.weight_decay, "fused": True}
    if options.optimiser == "sgd":
        return torch.optim.SGD(parameters, momentum=options.momentum, **common)
    return torch.optim.AdamW(parameters, betas=tuple(options.betas), **common)


def rate_at(options: TrainingOptions, step: int) -> float:
    """Return the learning rate of step 0..steps-1: a linear warm-up, then constant or falling to zero at ``steps``."""
    if step < options.warmup:
        return options.learning_rate * (step + 1) / options.warmup
    done = (step - options.warmup) / (options.steps - options.warmup)
    share = {"constant": 1.0, "linear": 1 - done, "cosine": (1 + math.cos(math.pi * done)) / 2}
    return options.learning_rate * share[options.rate_schedule]


def decay_at(options: TrainingOptions, step: int) -> float:
    """Return the decay of the weight average at step 0..steps-1; with a ramp it starts at 1/10."""
    return min(options.ema, (1 + step) / (10 + step)) if options.ema_ramp else options.ema


def update(
    optimiser: torch.optim.Optimizer,
    parameters: list[nn.Parameter],
    average: list[Tensor],
    options: TrainingOptions,
    step: int,
) -> None:
    """Apply the gradients of ``step`` to the parameters and follow with the average; waits for no device."""
    if options.clip is not None:
        nn.utils.clip_grad_norm_(parameters, options.clip)
    for group in optimiser.param_groups:
        group["lr"] = rate_at(options, step)
    optimiser.step()
    torch._foreach_lerp_(average, [p.detach() for p in parameters], 1 - decay_at(options, step))
