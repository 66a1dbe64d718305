"""What networks cost and how they were trained, for comparison and leaderboard. Torch-free."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import pandas as pd

MATCHED = 1.25  # a ratio of parameters, multiply-adds or budget beyond this, either way, is warned of
RECIPE = ["steps", "batch", "learning_rate"]
SIZES = {"parameters": "parameters", "macs": "multiply-adds"}
CELL = ["dataset", "train_size"]


def recipes(runs: Iterable[dict]) -> pd.DataFrame:
    """Return model, dataset, train_size and ``RECIPE`` of the plain runs of a plan."""
    plain = (run for run in runs if not run["recipe"])
    columns = ["model", *CELL, *RECIPE]
    rows = [
        [r["model"]["name"], *(r[key] for key in CELL), *(r["training"][key] for key in RECIPE)]
        for r in plain
    ]
    return pd.DataFrame(rows, columns=columns).drop_duplicates(ignore_index=True)


def costs(table: pd.DataFrame, trained: pd.DataFrame) -> pd.DataFrame:
    """Return one row per model of a tidy table: parameters, macs, images_per_second (means), ``RECIPE`` as text, device."""
    means = table.pivot_table(index="model", columns="metric", values="value", sort=False)
    found = means.reindex(columns=[*SIZES, "images_per_second"])
    for key in RECIPE:
        texts = trained.groupby("model")[key].agg(
            lambda values: " / ".join(f"{v:,}" for v in sorted(set(values)))
        )
        found[key] = texts.reindex(found.index).where(found["parameters"] > 0)
    speeds = table[table["metric"] == "images_per_second"]
    devices = speeds["protocol"].str.removeprefix("device=").groupby(speeds["model"]).agg(set)
    found["device"] = [", ".join(sorted(devices.get(model, ()))) for model in found.index]
    return found.rename_axis(columns=None).reset_index()


def readable(found: pd.DataFrame, label: Callable[[str], str]) -> pd.DataFrame:
    """Return costs as readers see them."""

    def column(key: str, form: str, unit: float = 1) -> list[str]:
        return ["–" if pd.isna(value) else format(value * unit, form) for value in found[key]]

    return pd.DataFrame(
        {
            "Model": [label(model) for model in found["model"]],
            "Parameters (M)": column("parameters", ".3f", 1e-6),
            "Multiply-adds (M)": column("macs", ".2f", 1e-6),
            **{
                name: found[key].fillna("–") for name, key in zip(("Steps", "Batch", "Learning rate"), RECIPE)
            },
            "Images/s": column("images_per_second", ",.0f"),
            "Device": found["device"],
        }
    )


def unmatched(found: pd.DataFrame, trained: pd.DataFrame, candidate: str) -> dict[str, str]:
    """Return baseline -> in words, where the candidate is larger or smaller, or trained longer or shorter, by ``MATCHED``.

    Training images (steps times batch) are those of the cells that both have.  Controls are left out.
    """
    numbers = found[found["parameters"] > 0].set_index("model")[list(SIZES)].rename(columns=SIZES)
    ratios = numbers.loc[candidate] / numbers.drop(index=candidate)
    trained = trained.assign(images=trained["steps"] * trained["batch"])
    both = trained.merge(trained[trained["model"] == candidate], on=CELL, suffixes=("", "_own"))
    sums = both.groupby("model")[["images", "images_own"]].sum()
    ratios["training images"] = (sums["images_own"] / sums["images"]).reindex(ratios.index).fillna(1)
    far = {model: row[(row > MATCHED) | (row < 1 / MATCHED)] for model, row in ratios.iterrows()}
    words = {m: ", ".join(f"{v:.3g} times the {what}" for what, v in row.items()) for m, row in far.items()}
    return {model: text for model, text in words.items() if text}
