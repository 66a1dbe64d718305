"""What a run costs: parameters, multiply-adds, training rate and memory, and the loss it ended at."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.metrics.declare import Measurement, Result, Row

if TYPE_CHECKING:
    from bench.jobs.run import Run

MEASUREMENT = Measurement(
    "cost",
    options=None,
    rows={
        "loss": Row("", "lower", "mean training loss of the last history interval"),
        "training_loss": Row("", "lower", "mean training loss of the history interval that ends at a step"),
        "parameters": Row("", "", "trainable parameters"),
        "macs": Row("", "", "multiply-adds of one image's forward pass"),
        "macs_without_attention": Row("", "", "the same without the attention products"),
        "images_per_second": Row(
            "1/s", "higher", "training images per second of the last attempt, on the recorded device"
        ),
        "peak_memory": Row(
            "MiB",
            "lower",
            "peak memory of the last training attempt: allocated on the device, or of the process on a CPU",
        ),
    },
)


def measure(run: Run, options: None) -> Result:
    """Count the network's parameters and multiply-adds; read rate, memory and last loss from the run's records."""
    import pandas as pd
    import torch

    from bench.models.costs import macs, parameters
    from bench.models.registry import build

    found = Result()
    with torch.device("meta"):  # a loaded run's parameters are frozen and would not count as trainable
        model = build(run.spec.model, run.image_size, run.channels)
    if not getattr(model, "trains", True):
        model = run.model  # a control's work depends on what it was fitted to
    found.add("parameters", parameters(model))
    whole, without = macs(model, run.image_size, run.channels)
    found.add("macs", whole)
    found.add("macs_without_attention", without)
    history = pd.read_csv(run.folder / "history.csv")
    if len(history):
        found.add("loss", history["loss"].iloc[-1], "train")
    for row in history.itertuples():
        found.add("training_loss", row.loss, "train", "step", int(row.step))
    if rate := run.record["result"]["images_per_second"]:
        found.add("images_per_second", rate, "train", protocol=f"device={run.record['provenance']['device']}")
    if attempts := run.record.get("attempts"):
        last = attempts[-1]
        kind = "process" if last["peak_device_memory_mib"] is None else "device"
        peak = last["peak_memory_mib" if kind == "process" else "peak_device_memory_mib"]
        protocol = f"device={last['device']};memory={kind};batch={run.spec.training.batch}"
        found.add("peak_memory", peak, "train", protocol=protocol)
    return found
