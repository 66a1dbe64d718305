"""The update of one step: optimiser, learning rate and weight average as functions of the step."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from bench.training.options import TrainingOptions


def make_optimiser(parameters: list[nn.Parameter], options: TrainingOptions) -> torch.optim.Optimizer:
    """Return AdamW or SGD with momentum, fused; its rate is set at every step.

    On a GPU the rate is a tensor: a captured step reads it there.
    """
    device = parameters[0].device
    rate = (
        torch.tensor(options.learning_rate, device=device) if device.type == "cuda" else options.learning_rate
    )
    common = {"lr": rate, "weight_decay": options.weight_decay, "fused": True}
    if options.optimiser == "sgd":
        return torch.optim.SGD(parameters, momentum=options.momentum, **common)
    return torch.optim.AdamW(
        parameters, betas=tuple(options.betas), capturable=device.type == "cuda", **common
    )


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


class Update:
    """What follows the gradients of a step: clipping, optimiser, weight average. Waits for no device.

    ``begin`` sets what changes with the step, ``apply`` is the work that a CUDA graph can hold.
    """

    def __init__(
        self, parameters: list[nn.Parameter], average: list[Tensor], options: TrainingOptions
    ) -> None:
        self.parameters, self.average, self.options = parameters, average, options
        self.optimiser = make_optimiser(parameters, options)
        self.weight = torch.zeros((), device=parameters[0].device)  # of the parameters in the average

    def restore(self, state: dict) -> None:
        """Go on from the optimiser's ``state_dict``, with the rates on this device: a checkpoint has them elsewhere."""
        rates = [group["lr"] for group in self.optimiser.param_groups]
        self.optimiser.load_state_dict(state)
        for group, rate in zip(self.optimiser.param_groups, rates, strict=True):
            group["lr"] = rate

    def begin(self, step: int) -> None:
        """Set learning rate and decay for step 0..steps-1."""
        rate = rate_at(self.options, step)
        for group in self.optimiser.param_groups:
            if isinstance(group["lr"], Tensor):
                group["lr"].fill_(rate)
            else:
                group["lr"] = rate
        self.weight.fill_(1 - decay_at(self.options, step))

    def apply(self) -> None:
        """Apply the gradients to the parameters and follow with the average."""
        if self.options.clip is not None:
            nn.utils.clip_grad_norm_(self.parameters, self.options.clip)
        self.optimiser.step()
        change = torch._foreach_sub([p.detach() for p in self.parameters], self.average)
        torch._foreach_mul_(change, self.weight)
        torch._foreach_add_(self.average, change)
