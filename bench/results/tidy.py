"""The tidy table: one row per number, the only thing that figures and tables are made of. Torch-free."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from bench.support.errors import BenchError, nearest
from bench.support.files import write_text

IDENTITY = ["suite", "dataset", "model", "train_size", "shuffle", "recipe"]
COLUMNS = [
    *IDENTITY,
    "split",
    "metric",
    "index_name",
    "index",
    "value",
    "unit",
    "protocol",
    "code",
    "data_hash",
]
KEY = [*IDENTITY, "split", "metric", "index_name", "index", "protocol"]

# metric -> (unit, which way is better, meaning)
METRICS: dict[str, tuple[str, str, str]] = {
    "psnr": ("dB", "higher", "PSNR of the one-step x0 estimate at a step index, mean over images"),
    "psnr_mean": ("dB", "higher", "plain mean of psnr over the step indices"),
    "psnr_unclipped": ("dB", "higher", "psnr of the estimate that is not clipped to the data range"),
    "psnr_unclipped_mean": ("dB", "higher", "plain mean of psnr_unclipped over the step indices"),
    "psnr_gap": ("dB", "lower", "train minus test PSNR at a step index, clipped at 0"),
    "psnr_gap_mean": ("dB", "lower", "plain mean of psnr_gap over the step indices"),
    "psnr_gap_signed": ("dB", "lower", "train minus test PSNR at a step index"),
    "psnr_gap_signed_mean": ("dB", "lower", "plain mean of psnr_gap_signed over the step indices"),
    "jacobian_eigenvalue": ("", "", "eigenvalue k of the symmetric part of the Jacobian, largest first"),
    "jacobian_singular_value": ("", "", "singular value k of the Jacobian, largest first"),
    "jacobian_asymmetry": ("", "", "|J - J^T| / |J| in the Frobenius norm"),
    "jacobian_trace": ("", "", "trace of the Jacobian; of the optimal denoiser, the effective dimension"),
    "jacobian_residual": ("", "", "largest residual |A v - lambda v| / max |lambda| of the leading values"),
    "jacobian_participation": (
        "",
        "",
        "share of the pixels that eigenvector k lives on: 1 for all, 1 / pixels for one (local or sparse)",
    ),
    "jacobian_frequency": ("cycles/image", "", "mean spatial frequency of eigenvector k (oscillating)"),
    "jacobian_overlap_pca": (
        "",
        "",
        "mean squared cosine between the leading k + 1 eigenvectors and principal components of the train pool",
    ),
    "jacobian_overlap_dct": (
        "",
        "",
        "the same against the k + 1 cosines of largest variance in the train pool (fixed harmonics)",
    ),
    "jacobian_train_share": (
        "",
        "",
        "share of eigenvector k inside the span of differences of the N training images (memorised)",
    ),
    "attention_distance": (
        "tokens",
        "",
        "mean Euclidean distance between query and key, weighted by attention",
    ),
    "attention_entropy": ("nats", "", "mean entropy of a row of the attention map"),
    "attention_mass_w3": ("", "", "attention inside a 3x3 window"),
    "attention_mass_w5": ("", "", "attention inside a 5x5 window"),
    "attention_mass_w7": ("", "", "attention inside a 7x7 window"),
    "attention_head_distance": ("tokens", "", "attention_distance of one head"),
    "attention_head_entropy": ("nats", "", "attention_entropy of one head"),
    "attention_head_mass_w3": ("", "", "attention_mass_w3 of one head"),
    "attention_head_mass_w5": ("", "", "attention_mass_w5 of one head"),
    "attention_head_mass_w7": ("", "", "attention_mass_w7 of one head"),
    "frechet": (
        "",
        "lower",
        "Fréchet distance of samples to the train pool in the feature space of the protocol",
    ),
    "fid": ("", "lower", "Fréchet distance in Inception features"),
    "kernel_distance": (
        "",
        "lower",
        "squared kernel distance (cubic MMD) of samples to a pool in the feature space of the protocol",
    ),
    "kid": ("", "lower", "squared kernel distance (cubic MMD) in Inception features"),
    "memorized_share": (
        "",
        "",
        "share of samples whose nearest training image is closer than a share of the distance to the second",
    ),
    "nearest_distance": (
        "",
        "",
        "root mean square distance to the nearest training image, mean over samples",
    ),
    "nearest_ratio": (
        "",
        "",
        "distance to the nearest over distance to the second nearest training image, mean",
    ),
    "along_psnr_mean": ("dB", "higher", "psnr_mean at a training step"),
    "along_psnr_gap_mean": ("dB", "lower", "psnr_gap_mean at a training step"),
    "along_psnr_gap_signed_mean": ("dB", "lower", "psnr_gap_signed_mean at a training step"),
    "along_attention_distance": ("tokens", "", "attention_distance of a layer at a training step"),
    "along_attention_entropy": ("nats", "", "attention_entropy of a layer at a training step"),
    "along_attention_mass_w3": ("", "", "attention_mass_w3 of a layer at a training step"),
    "along_attention_mass_w5": ("", "", "attention_mass_w5 of a layer at a training step"),
    "along_attention_mass_w7": ("", "", "attention_mass_w7 of a layer at a training step"),
    "halves_eps_cosine": (
        "",
        "higher",
        "cosine of the noise predictions of two networks trained on disjoint halves, at a step index, mean over images",
    ),
    "halves_x0_cosine": ("", "higher", "the same of their x0 estimates, clipped to the data range"),
    "halves_sample_cosine": ("", "higher", "cosine of their samples from the same noise, mean over pairs"),
    "halves_training_cosine": (
        "",
        "lower",
        "cosine of each of these samples with the most similar image that its network was trained on, mean",
    ),
    "loss": ("", "lower", "mean training loss of the last history interval"),
    "training_loss": ("", "lower", "mean training loss of the history interval that ends at a step"),
    "parameters": ("", "", "trainable parameters"),
    "macs": ("", "", "multiply-adds of one image's forward pass"),
    "macs_without_attention": ("", "", "the same without the attention products"),
    "images_per_second": (
        "1/s",
        "higher",
        "training images per second of the last attempt, on the recorded device",
    ),
    "peak_memory": (
        "MiB",
        "lower",
        "peak memory of the last training attempt: allocated on the device, or of the process on a CPU",
    ),
}


def check(table: pd.DataFrame, where: str | Path) -> pd.DataFrame:
    """Return the table if it is sound; raises BenchError that names the column, metric or row that is not."""
    if missing := [c for c in COLUMNS if c not in table.columns]:
        raise BenchError(
            f"{where} lacks the column {missing[0]!r}; make it again with `bench tidy --suite SUITE`."
        )
    if unknown := [m for m in table["metric"].unique() if m not in METRICS]:
        raise BenchError(f"{where} has the unknown metric {unknown[0]!r}{nearest(str(unknown[0]), METRICS)}.")
    if table["value"].isna().any():
        row = table[table["value"].isna()].iloc[0]
        raise BenchError(
            f"{where}: {row['metric']} of {row['dataset']}, {row['model']} has no value (NaN); measure it again."
        )
    if table.duplicated(KEY).any():
        row = table[table.duplicated(KEY)].iloc[0]
        raise BenchError(
            f"{where}: {row['metric']} of {row['dataset']}, {row['model']}, N = {row['train_size']} stands twice."
        )
    return table[COLUMNS]


def read_tidy(path: str | Path) -> pd.DataFrame:
    """Read a tidy table (empty cells are empty strings, ``index`` is nullable) and check it."""
    texts = {c: str for c in COLUMNS if c not in ("train_size", "shuffle", "index", "value")}
    try:
        table = pd.read_csv(
            path,
            dtype={**texts, "index": "Int64"},
            keep_default_na=False,
            na_values={"index": [""], "value": ["", "nan"]},
        )
    except FileNotFoundError:
        raise BenchError(f"{path} does not exist; make it with `snakemake --cores 2 {path}`.") from None
    except (ValueError, pd.errors.ParserError) as error:
        raise BenchError(
            f"{path} is not a tidy table ({error}); make it again with `bench tidy --suite SUITE`."
        ) from error
    return check(table, path)


def combine(files: Iterable[Path], out: Path) -> None:
    """Join the measurements of runs into one table, checked, with every digit kept."""
    tables = [table for table in map(read_tidy, files) if len(table)]
    if not tables:
        raise BenchError(f"There is nothing to write to {out}: no run was measured.")
    table = check(pd.concat(tables, ignore_index=True), out)
    write_text(out, table.to_csv(index=False))
