"""What a network's output means: the noise eps, the image x0, or the velocity v = sqrt(abar) eps - sqrt(1 - abar) x0.

Everything outside of training reads a network as eps; :func:`as_eps` converts the other two once.  Training compares
the output with its own target and weights the squared error by timestep (Salimans & Ho 2022, section 4 and appendix D).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, get_args

import numpy as np
import torch
from torch import Tensor, nn

from bench.diffusion.schedule import Schedule
from bench.support.errors import BenchError

if TYPE_CHECKING:
    from bench.training.options import TrainingOptions

Prediction = Literal["eps", "x0", "v"]
GAMMA = 5.0  # of min-SNR weighting (Hang et al. 2023)


def target(prediction: str, schedule: Schedule, x0: Tensor, t: Tensor, noise: Tensor) -> Tensor:
    """Return what the network should predict for images ``x0`` (B, C, H, W), timesteps (B,) and their noise."""
    if prediction == "v":
        return schedule.q_sample(noise, t, -x0)
    return {"eps": noise, "x0": x0}[prediction]


def weights(prediction: str, weighting: str, schedule: Schedule) -> np.ndarray:
    """Return the factor of the squared error of the prediction at each timestep, (T,) float64.

    With snr = abar / (1 - abar), the squared error of x0 counts 1 under ``x0``, snr under ``eps``, snr + 1 under ``v`` and
    min(snr, 5) under ``min-snr``; an error of the prediction is that of x0 times the square root of its own entry.
    """
    snr = schedule.alphas_cumprod / (1 - schedule.alphas_cumprod)
    of_x0 = {"x0": np.ones_like(snr), "eps": snr, "v": snr + 1, "min-snr": np.minimum(snr, GAMMA)}
    return of_x0[prediction if weighting == "own" else weighting] / of_x0[prediction]


def as_eps(model: nn.Module, schedule: Schedule, prediction: str) -> nn.Module:
    """Make ``model(x, t, y)`` return eps, in place, whatever the network predicts; return the model.

    ``schedule`` has all steps, so that ``t`` counts in it.  The conversion is a forward hook: names of modules and
    weights stay.  It is done in float32 or wider, also where the network runs in bfloat16: at the noisiest step the image
    is a factor of 150 smaller in eps.  Networks without training return eps by definition and are left alone.
    """
    if prediction not in get_args(Prediction):
        raise BenchError(f"prediction must be one of {', '.join(get_args(Prediction))}, not {prediction!r}.")
    if prediction == "eps" or not getattr(model, "trains", True):
        return model

    def convert(_module: nn.Module, inputs: tuple, output: Tensor) -> Tensor:
        x, t = inputs[:2]
        x = x.to(torch.promote_types(x.dtype, torch.float32))
        to_eps = schedule.eps_from_v if prediction == "v" else schedule.eps_from_x0
        return to_eps(x, t, output.to(x.dtype))

    model.register_forward_hook(convert)
    return model


def check_target(model: nn.Module, options: TrainingOptions, name: str) -> None:
    """Refuse a prediction that the network ``name`` cannot be trained for; raises BenchError.

    A network with learned variances, and one whose output is the noise by its construction (``predicts_noise``, as
    bias-free networks), predict eps only.
    """
    if options.prediction == "eps":
        return
    for attribute, reason in (
        ("learned_sigma", "learns its variances"),
        ("predicts_noise", "returns the noise by its construction"),
    ):
        if getattr(model, attribute, False):
            raise BenchError(
                f"Model {name!r} {reason}, so it cannot be trained with prediction: {options.prediction}; "
                "give its block of runs `training: {prediction: eps}`."
            )
