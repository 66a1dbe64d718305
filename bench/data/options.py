"""The options of a dataset: one row of ``config/datasets.yaml``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from bench.options import STRICT, check, option, required

FAMILIES = ("gaussian", "haar", "disks", "contours")


@dataclass(frozen=True)
class DatasetOptions:
    """Where a dataset comes from and how it becomes uint8 images of one resolution."""

    __pydantic_config__ = STRICT

    title: str = required("name in figures and tables")
    resolution: int = required("side of the images, pixels")
    channels: int = option(3, "1 (grey) or 3 (colour)")
    family: str | None = option(None, f"procedural family: {', '.join(FAMILIES)}; null imports real images")
    parameters: dict[str, Any] = option({}, "parameters of the family")
    seed: int = option(0, "seed of the family, or of the test draw")
    train: int | None = option(None, "size of the train pool; null takes all that is not test")
    test: int = option(0, "size of the test pool, drawn at random unless test_source is given")
    source: str | None = option(None, "folder, zip, tar, .npy or .npz with the images, relative to BENCH_DATA (data/)")
    test_source: str | None = option(None, "the same for the test pool")
    crop: Literal["center", "none"] | list[int] = option(
        "center", "central square, none (square images only), or a box [left, top, right, bottom]", "assumed"
    )
    filter: Literal["box", "bilinear", "hamming", "bicubic", "lanczos"] = option(
        "bicubic", "antialiased resize filter of Pillow", "assumed"
    )
    on_error: Literal["fail", "skip"] = option("fail", "what to do with a file that does not decode")
    redistribute: bool = option(True, "whether images, and pictures that show them, may be passed on")
    licence: str = option("", "terms")
    home: str = option("", "where a person gets it")
    expected: int | None = option(None, "number of source images, checked")

    def __post_init__(self) -> None:
        check(self.resolution >= 2, f"resolution must be at least 2, not {self.resolution}")
        check(self.channels in (1, 3), f"channels must be 1 or 3, not {self.channels}")
        check((self.family is None) != (self.source is None), "give either family or source")
        check(self.family is None or self.family in FAMILIES, f"family must be one of {', '.join(FAMILIES)}")
        check(self.family is None or bool(self.train and self.test), "a procedural family needs train and test")
        check(self.test >= 0 and (self.train is None or self.train >= 1), "train and test must be positive")
        check(
            self.source is None or bool(self.test) != bool(self.test_source), "give either test or test_source"
        )
        check(isinstance(self.crop, str) or len(self.crop) == 4, "a crop box has four numbers")
