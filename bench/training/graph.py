"""One training step as a CUDA graph: one launch in place of several hundred, which bound small networks."""

from __future__ import annotations

from collections.abc import Callable

import torch

from bench.support.console import say

WARM_UP = (
    3  # steps that run operation by operation, so that libraries choose their kernels and state is allocated
)


class StepGraph:
    """The device work of one step, captured after a few steps and replayed from then on.

    ``work`` must read what changes between steps (the rate, the decay of the average) from tensors, and draw from the
    default CUDA generator: a replay reads the seed that was set before it, so draws stay a function of position, and
    the kernels, hence the bits, are those of a step that is not captured.
    """

    def __init__(self, work: Callable[[], None], name: str) -> None:
        self.work, self.name = work, name
        self.graph: torch.cuda.CUDAGraph | None = None
        self.stream = torch.cuda.Stream()
        self.calls = 0

    def __call__(self) -> None:
        if self.calls == WARM_UP:
            self.graph = self._captured()
        self.calls += 1
        if self.graph is not None:
            self.graph.replay()
            return
        self.stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self.stream):
            self.work()
        torch.cuda.current_stream().wait_stream(self.stream)

    def _captured(self) -> torch.cuda.CUDAGraph | None:
        """Return the work as a graph; None, with a line in the log, for a network that reads values from the device."""
        graph = torch.cuda.CUDAGraph()
        try:
            with torch.cuda.graph(graph):
                self.work()
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:
            reason = str(error).splitlines()[0]
            say(
                f"{self.name}: steps are launched one operation at a time, since the network cannot be captured ({reason})"
            )
            return None
        return graph
