"""The options of a dataset: one row of ``config/datasets.yaml``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from bench.errors import nearest
from bench.options import STRICT, check, option, required

# family -> its parameters with their defaults
FAMILIES: dict[str, dict[str, float]] = {
    "gaussian": {"beta": 2.0},
    "haar": {},
    "disks": {},
    "contours": {"alpha": 2.0},
}


@dataclass(frozen=True)
class DatasetOptions:
    """Where a dataset comes from and how it becomes uint8 images of one resolution."""

    __pydantic_config__ = STRICT

    title: str = required("name in figures and tables")
    resolution: int = required("side of the images, pixels")
    channels: int = option(3, "1 (grey) or 3 (colour)")
    family: str | None = option(None, f"procedural family: {', '.join(FAMILIES)}; null imports real images")
    parameters: dict[str, float] = option({}, "parameters of the family: beta (gaussian), alpha (contours)")
    seed: int = option(0, "seed of the family, or of the draw of the pools")
    train: int | None = option(
        None, "size of the train pool, drawn at random; null takes all that is not test"
    )
    test: int = option(0, "size of the test pool, drawn at random; 0 takes all of test_source")
    source: str | None = option(
        None, "folder, zip, tar, .npy or .npz with the images, relative to BENCH_DATA (data/)"
    )
    test_source: str | None = option(None, "the same for the test pool")
    crop: Literal["center", "none"] | list[int] = option(
        "center",
        "central square, none (square images only), or a square box [left, top, right, bottom]",
        "assumed",
    )
    filter: Literal["nearest", "box", "bilinear", "hamming", "bicubic", "lanczos"] = option(
        "bicubic", "resize filter of Pillow; all but nearest are antialiased", "assumed"
    )
    variant: Literal["permuted", "grey"] | None = option(
        None, "permuted: one fixed shuffle of the pixels of all images; grey: luma in every channel"
    )
    on_error: Literal["fail", "skip"] = option(
        "fail", "what to do with a file that is no image or does not decode"
    )
    near_duplicates: Literal["drop", "keep"] = option(
        "drop", "imported test images within 8 grey levels rms of a training image"
    )
    redistribute: bool = option(True, "whether images, and pictures that show them, may be passed on")
    licence: str = option("", "terms")
    home: str = option("", "where a person gets it")
    expected: int | None = option(None, "number of images in source, checked")
    source_sha256: str | None = option(None, "sha256 of the source (one file), checked before reading")
    sha256: str | None = option(None, "content hash of the dataset, checked after building")

    def __post_init__(self) -> None:
        check(self.resolution >= 2, f"resolution must be at least 2, not {self.resolution}")
        check(self.channels in (1, 3), f"channels must be 1 or 3, not {self.channels}")
        check((self.family is None) != (self.source is None), "give either family or source")
        check(self.train is None or self.train >= 1, f"train must be at least 1, not {self.train}")
        check(self.test >= 0, f"test must not be negative, not {self.test}")
        if self.family is not None:
            self._check_family()
        else:
            check(bool(self.test or self.test_source), "give test (a number of images) or test_source")
            check(not self.parameters, "parameters belong to a procedural family")
        if not isinstance(self.crop, str):
            check(len(self.crop) == 4, "a crop box is [left, top, right, bottom]")
            left, top, right, bottom = self.crop
            check(
                0 <= left < right and 0 <= top < bottom and right - left == bottom - top,
                f"a crop box [left, top, right, bottom] must be square and not empty, not {self.crop}",
            )

    def _check_family(self) -> None:
        family, known = self.family, FAMILIES.get(self.family or "", {})
        check(family in FAMILIES, f"there is no family {family!r}{nearest(str(family), FAMILIES)}")
        check(bool(self.train and self.test), "a procedural family needs train and test")
        check(self.test_source is None, "a procedural family has no test_source")
        check(
            family != "haar" or self.resolution & (self.resolution - 1) == 0,
            f"the haar family needs a resolution that is a power of two, not {self.resolution}",
        )
        for name, value in self.parameters.items():
            check(name in known, f"the family {family!r} has no parameter {name!r}{nearest(name, known)}")
            check(value > 0, f"{name} must be positive, not {value}")
