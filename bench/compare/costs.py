"""What networks cost and how they were trained, for comparison and leaderboard. Torch-free."""

from __future__ import annotations

from collections.abc import Callable

import pandas as pd

MATCHED = 1.25  # a ratio of parameters, multiply-adds or budget beyond this, either way, is warned of
MATCHABLE = {"parameters": "parameters", "macs": "multiply-adds", "images": "training images"}


def costs(table: pd.DataFrame, trained: dict[str, dict]) -> pd.DataFrame:
    """Return one row per model: parameters, macs, images_per_second (means), steps, batch, learning_rate, images, device.

    ``trained`` holds the training options of each model; images are steps times batch.
    """
    means = table.pivot_table(index="model", columns="metric", values="value", sort=False)
    found = means.reindex(columns=["parameters", "macs", "images_per_second"])
    for key in ("steps", "batch", "learning_rate"):
        found[key] = [trained[model][key] for model in found.index]
    speeds = table[table["metric"] == "images_per_second"]
    devices = speeds["protocol"].str.removeprefix("device=").groupby(speeds["model"]).unique()
    found["device"] = [", ".join(sorted(devices.get(model, []))) for model in found.index]
    return found.assign(images=found["steps"] * found["batch"]).rename_axis(columns=None).reset_index()


def readable(found: pd.DataFrame, label: Callable[[str], str]) -> pd.DataFrame:
    """Return costs as readers see them; what is not trained has no budget."""
    is_trained = found["parameters"] > 0

    def column(key: str, form: str, unit: float = 1) -> list[str]:
        values = found[key].where(is_trained | (key in ("parameters", "macs"))) * unit
        return ["–" if pd.isna(value) else format(value, form) for value in values]

    return pd.DataFrame(
        {
            "Model": [label(model) for model in found["model"]],
            "Parameters (M)": column("parameters", ".3f", 1e-6),
            "Multiply-adds (M)": column("macs", ".2f", 1e-6),
            "Steps": column("steps", ",.0f"),
            "Batch": column("batch", ",.0f"),
            "Learning rate": column("learning_rate", "g"),
            "Images/s": column("images_per_second", ",.0f"),
            "Device": found["device"],
        }
    )


def unmatched(found: pd.DataFrame, candidate: str) -> dict[str, str]:
    """Return baseline -> in words, where the candidate is larger or smaller by more than ``MATCHED``.

    Controls, which have no parameters to match, are left out.
    """
    numbers = found[found["parameters"] > 0].set_index("model")[list(MATCHABLE)]
    ratios = numbers.loc[candidate] / numbers.drop(index=candidate)
    words = {}
    for model, row in ratios.iterrows():
        far = {key: ratio for key, ratio in row.items() if not 1 / MATCHED <= ratio <= MATCHED}
        if far:
            words[model] = ", ".join(f"{ratio:.3g} times the {MATCHABLE[key]}" for key, ratio in far.items())
    return words
