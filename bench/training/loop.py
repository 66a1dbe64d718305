"""The optimisation loop. Every random draw is a function of (seed, step), so a resumed run is the same run."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from bench.data.pixels import to_network
from bench.diffusion.objective import Objective
from bench.diffusion.schedule import Schedule
from bench.support.errors import BenchError
from bench.support.randomness import seed_all
from bench.training.calibration import borrowed, calibrate, normalisations
from bench.training.graph import StepGraph
from bench.training.optimiser import Update
from bench.training.options import TrainingOptions


@dataclass
class Loop:
    """A network in training: weights, averaged weights, optimiser, step and history.

    ``images`` (N, H, W, C) uint8, or float32 as they are, and ``labels`` (N,) or None lie on the device; ``history`` rows
    are (step, mean loss and images per second since the last row). ``name`` is the run's, for messages.
    """

    model: nn.Module
    schedule: Schedule
    images: Tensor
    options: TrainingOptions
    seed: int
    name: str = ""
    labels: Tensor | None = None
    step: int = 0
    history: list[tuple[int, float, float]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.device = self.images.device
        self.parameters = [p for p in self.model.parameters() if p.requires_grad]
        self.average = [p.detach().clone() for p in self.parameters]
        self.update = Update(self.parameters, self.average, self.options)
        self.loss = Objective(self.schedule, self.options.prediction, self.options.weighting)
        if self.options.compile:  # the method that the objective calls: compiling the module would miss `raw`
            entry = "raw" if getattr(self.model, "learned_sigma", False) else "forward"
            setattr(self.model, entry, torch.compile(getattr(self.model, entry)))
        self.total = torch.zeros((), device=self.device, dtype=torch.float64)  # losses since the last row
        self.graph = StepGraph(self._work, self.name) if self.device.type == "cuda" else None
        self.every = max(1, self.options.steps // 100)
        self.timed_from = self.step, time.monotonic()

    def state(self) -> dict:
        """Return all that the rest of the training depends on."""
        return {
            "model": self.model.state_dict(),
            "average": self.average,
            "optimiser": self.update.optimiser.state_dict(),
            "step": self.step,
            "history": self.history,
            "total": self.total,
        }

    def restore(self, state: dict) -> None:
        """Go on from :meth:`state`."""
        self.model.load_state_dict(state["model"])
        for mine, saved in zip(self.average, state["average"], strict=True):
            mine.copy_(saved)
        self.update.restore(state["optimiser"])
        self.step, self.history = state["step"], [tuple(row) for row in state["history"]]
        self.timed_from = self.step, time.monotonic()
        self.total.copy_(state["total"])

    def batch(self) -> tuple[Tensor, ...]:
        """Draw images (B, C, H, W) with replacement, timesteps (B,), noise and, if there are any, labels (B,)."""
        size = self.options.batch
        chosen = torch.randint(len(self.images), (size,), device=self.device)
        t = torch.randint(len(self.schedule), (size,), device=self.device)
        mirrored = torch.rand(size, device=self.device) < 0.5
        x0 = to_network(self.images[chosen])
        if self.options.flip:
            x0 = torch.where(mirrored.view(-1, 1, 1, 1), x0.flip(3), x0)
        noise = torch.randn_like(x0)
        return (x0, t, noise) if self.labels is None else (x0, t, noise, self.labels[chosen])

    def _parts(self) -> Iterator[tuple[Tensor, ...]]:
        return zip(*(draws.chunk(self.options.accumulate) for draws in self.batch()))

    def _autocast(self) -> torch.autocast:
        low = self.options.precision == "bfloat16"
        return torch.autocast(self.device.type, torch.bfloat16, enabled=low)

    def advance(self) -> None:
        """Do one optimiser step; at the end of a history interval, read the mean loss and check it."""
        seed_all(self.seed, "step", self.step)  # draws, dropout and label dropout of this step
        self.update.begin(self.step)
        (self.graph or self._work)()
        self.step += 1
        if self.step % self.every == 0 or self.step == self.options.steps:
            self._record()

    def run(self) -> Iterator[int]:
        """Train to the last step and yield each step that is done, to save, to report, to stop."""
        self.model.train()
        while self.step < self.options.steps:
            self.advance()
            yield self.step

    def _work(self) -> None:
        """Do what a step asks of the device: draw, gradients, update."""
        self.update.optimiser.zero_grad(set_to_none=True)
        for part in self._parts():
            with self._autocast():
                value = self.loss(self.model, *part) / self.options.accumulate
            value.backward()
            self.total += value.detach()
        self.update.apply()

    def _record(self) -> None:
        last = self.history[-1][0] if self.history else 0
        mean = self.check() / (self.step - last)  # waits for the device, so the clock is read after it
        (first, began), now = self.timed_from, time.monotonic()
        rate = (self.step - first) * self.options.batch / max(now - began, 1e-9)
        self.history.append((self.step, mean, rate))
        self.timed_from = self.step, now
        self.total.zero_()

    def check(self) -> float:
        """Return the sum of the losses since the last row; raises BenchError if it is not finite."""
        total = float(self.total)
        if not math.isfinite(total):
            raise self._diverged(f"loss is not finite ({total})")
        return total

    def check_weights(self) -> None:
        """Raise BenchError if a weight is not finite: a finite loss can have a gradient that is not."""
        largest = torch._foreach_norm([p.detach() for p in self.parameters], math.inf)
        if not bool(torch.stack(largest).isfinite().all()):
            raise self._diverged("weights are not finite")

    def _diverged(self, what: str) -> BenchError:
        return BenchError(
            f"{self.name}: the {what} at step {self.step}; lower learning_rate "
            f"(now {self.options.learning_rate}). The last good checkpoint is kept."
        )

    def averaged(self) -> dict[str, Tensor]:
        """Return the state dict with the averaged parameters, its running statistics recomputed, on the CPU."""
        with borrowed(self.model, self.parameters, self.average):
            if normalisations(self.model):
                calibrate(self.model, self._pass)
            state = self.model.state_dict()
            return {name: value.detach().cpu().contiguous().clone() for name, value in state.items()}

    def _pass(self, number: int) -> None:
        seed_all(self.seed, f"statistics/{self.step}", number)
        for x0, t, noise, *y in self._parts():
            with self._autocast():
                self.model(self.schedule.q_sample(x0, t, noise), t, *y)
