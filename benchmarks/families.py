"""Images per second of every family at its 32x32 preset of about 1.1 GMAC: ``python benchmarks/families.py``.

One forward pass, and one training step (forward, backward, AdamW), float32. The families take turns, round after
round, and the median round counts; on a CPU one thread's processor time is taken, so that others may be busy.
Prints Markdown.
"""

from __future__ import annotations

import argparse
import statistics

import torch
from local_attention import device_name, now
from torch import nn

from bench.models.costs import macs, parameters
from bench.models.registry import build
from bench.models.spec import ModelSpec
from bench.suite.config import load_models
from bench.support.console import say


def main() -> None:
    """Parse the arguments and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tier", choices=("t16", "t32", "s32"), default="s32")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--batch", type=int, default=4, help="images at a time")
    parser.add_argument("--rounds", type=int, default=3, help="timed rounds; the median is printed")
    arguments = parser.parse_args(namespace=argparse.Namespace(threads=1))
    torch.set_num_threads(arguments.threads)
    rows = [Family(name, arguments) for name in presets(arguments.tier)]
    for turn in range(arguments.rounds + 1):
        say(f"round {turn} of {arguments.rounds}")
        for row in rows:
            row.time(keep=turn > 0)
    print(f"{device_name(arguments)}, torch {torch.__version__}, batch {arguments.batch}, float32\n")
    print("| preset | parameters (M) | GMAC | forward (images/s) | training (images/s) | training, GMAC/s |")
    print("| --- | --- | --- | --- | --- | --- |")
    for row in sorted(rows, key=lambda row: -row.rate("training")):
        print(row.line())


def presets(tier: str) -> list[str]:
    """Return the presets of a tier that are no variant of another one: one or two per family."""
    return [
        name
        for name, preset in load_models().items()
        if name.removeprefix(preset.family) in (f"-{tier}", f"-{tier}-adaptive")
    ]


class Family:
    """One network with its optimiser, and the seconds that its rounds took."""

    def __init__(self, name: str, arguments: argparse.Namespace) -> None:
        preset = load_models()[name]
        self.name, self.device = name, arguments.device
        spec = ModelSpec(name, preset.family, preset.options)
        with torch.device("meta"):
            counted = build(spec, preset.image_size, preset.channels)
        self.parameters = parameters(counted)
        self.gmac = macs(counted, preset.image_size, preset.channels).total / 1e9
        self.model = build(spec, preset.image_size, preset.channels).to(self.device).train()
        self.optimiser = torch.optim.AdamW(self.model.parameters(), fused=True)
        shape = (arguments.batch, preset.channels, preset.image_size, preset.image_size)
        self.x = torch.randn(shape, device=self.device)
        self.t = torch.arange(arguments.batch, device=self.device) * 1000 // arguments.batch
        self.seconds: dict[str, list[float]] = {"forward": [], "training": []}

    def time(self, keep: bool) -> None:
        """Run each kind of work once."""
        for kind, work in (("forward", self.forward), ("training", self.step)):
            start = now(self.device)
            work()
            if keep:
                self.seconds[kind].append(now(self.device) - start)

    @torch.no_grad()
    def forward(self) -> None:
        self.model(self.x, self.t)

    def step(self) -> None:
        self.optimiser.zero_grad()
        nn.functional.mse_loss(self.model(self.x, self.t), self.x).backward()
        self.optimiser.step()

    def rate(self, kind: str) -> float:
        return len(self.x) / statistics.median(self.seconds[kind])

    def line(self) -> str:
        forward, training = self.rate("forward"), self.rate("training")
        # a backward pass is counted as two forward passes
        return (
            f"| {self.name} | {self.parameters / 1e6:.3f} | {self.gmac:.3f} | {forward:.1f} | {training:.1f} "
            f"| {3 * self.gmac * training:.1f} |"
        )


if __name__ == "__main__":
    main()
