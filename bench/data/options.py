"""The options of a dataset: one row of ``config/datasets.yaml``."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from bench.support.errors import BenchError, nearest
from bench.support.options import STRICT, check, option, required

# family -> its parameters with their defaults
FAMILIES: dict[str, dict[str, float]] = {
    "gaussian": {"beta": 2.0},
    "haar": {},
    "disks": {},
    "contours": {"alpha": 2.0},
    "planted": {"beta": 2.0, "strength": 0.15},
    "mixture": {"deviation": 1.0},
}
VECTORS = ("mixture",)  # families of vectors: resolution 1, one channel for each dimension, float32
# what a row with a base may say itself; all else is the base's
OF_VARIANTS = ("base", "title", "version", "resolution", "channels", "variant", "balanced", "sha256")
POOLS = ("train", "validation", "test")
SOURCES = ("source", "validation_source", "test_source")


def check_name(name: object, where: str = "") -> None:
    """Raise BenchError if ``name`` cannot name a dataset: it becomes a folder and a part of run names.

    ``where`` names the file in the message.  YAML reads some words as a truth value or a number.
    """
    if not isinstance(name, str):
        raise BenchError(
            f"{where}the name {name!r} is read by YAML as {type(name).__name__}; write it in quotes."
        )
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]*", name):
        raise BenchError(f"{where}a dataset cannot be named {name!r}; use letters, digits, '-' and '_'.")


@dataclass(frozen=True)
class SourceFile:
    """One file as its owners distribute it: where it lies, and how to know it."""

    __pydantic_config__ = STRICT

    path: str = required("where it lies, relative to BENCH_DATA (data/)")
    bytes: int | None = option(None, "its size")
    sha256: str | None = option(None, "its checksum")
    md5: str | None = option(None, "its checksum if no sha256 is known")
    url: str | None = option(None, "public address; null if it must be downloaded manually from `home`")
    unpacks_to: str | None = option(
        None, "what the archive holds and the source needs unpacked, relative to the folder of `path`"
    )


@dataclass(frozen=True)
class DatasetOptions:
    """Where a dataset comes from and how it becomes uint8 images of one resolution."""

    __pydantic_config__ = STRICT

    title: str = required("name in figures and tables")
    resolution: int = required("side of the images, pixels")
    version: str = option("1", "raised when the row's source, crop, filter or split changes")
    base: str | None = option(
        None, "dataset of which this is a variant: the same pools, permuted, grey or at a lower resolution"
    )
    channels: int = option(
        3,
        "1 (grey), 3 (colour), 4 (latents: an array that has the resolution already); dimensions of vectors",
    )
    family: str | None = option(None, f"procedural family: {', '.join(FAMILIES)}; null imports real images")
    parameters: dict[str, float] = option(
        {},
        "parameters of the family: beta (gaussian, planted), strength (planted), alpha (contours), deviation (mixture)",
    )
    seed: int = option(0, "seed of the family, or of the draw of the pools")
    train: int | None = option(
        None, "size of the train pool, drawn at random; null takes what the other pools leave of source"
    )
    validation: int = option(
        0,
        "size of the validation pool, drawn at random from validation_source; without one from test_source if `test` "
        "takes a part of that, else from source; 0 takes all of validation_source, or makes no such pool",
    )
    test: int = option(0, "size of the test pool, drawn at random; 0 takes all of test_source")
    source: str | None = option(
        None, "folder, zip, tar, .npy, .npz or LMDB with the images, relative to BENCH_DATA (data/)"
    )
    validation_source: str | None = option(None, "the same for the validation pool")
    test_source: str | None = option(None, "the same for the test pool")
    layout: Literal["images", "celeba", "cifar10", "imagenet-batches"] = option(
        "images",
        "how a source is laid out: images, or the official files of CelebA or CIFAR-10 (root folder as "
        "torchvision wants it) or of downsampled ImageNet (folder of batches), with their official splits",
    )
    labels: str | None = option(
        None,
        "`folder` (the first folder in an image's path), or an .npy or .npz file with one integer per image",
    )
    validation_labels: str | None = option(None, "the labels file of validation_source")
    test_labels: str | None = option(None, "the labels file of test_source")
    crop: Literal["center", "none"] | list[int] = option(
        "center",
        "central square, none (square images only), or a square box [left, top, right, bottom]",
        "assumed",
    )
    filter: Literal["nearest", "box", "bilinear", "hamming", "bicubic", "lanczos"] = option(
        "bicubic", "resize filter of Pillow; all but nearest are antialiased", "assumed"
    )
    bits: int | None = option(
        None,
        "significant bits of 16-bit grey images; null takes 16 and refuses images that all use fewer than 15",
    )
    variant: Literal["permuted", "grey"] | None = option(
        None, "permuted: one fixed shuffle of the pixels of all images; grey: luma (`channels: 1`)"
    )
    balanced: bool = option(
        False, "subsets take classes in turn, so that class counts are equal to within one at every N"
    )
    on_error: Literal["fail", "skip"] = option(
        "fail", "what to do with a file that is not an image or does not decode"
    )
    near_duplicates: Literal["drop", "keep"] = option(
        "drop", "imported images within 8 grey levels rms of one in another pool"
    )
    drop_from: Literal["train", "test"] = option(
        "train",
        "the pool that imported duplicates are dropped from; between validation and test, it is always validation",
    )
    redistribute: bool = option(True, "whether images, and pictures that show them, may be redistributed")
    licence: str = option("", "licence and terms")
    home: str = option("", "where to get it")
    files: list[SourceFile] = option([], "the files as distributed, with sizes and checksums")
    expected: int | None = option(None, "number of images in source, checked")
    validation_expected: int | None = option(None, "number of images in validation_source, checked")
    test_expected: int | None = option(None, "number of images in test_source, checked")
    content_sha256: dict[str, str] = option(
        {}, "hash of the decoded images of each source, checked after conversion"
    )
    sha256: str | None = option(None, "content hash of the dataset, checked after building")

    @property
    def dtype(self) -> str:
        """What the pools are stored as: ``uint8`` images, ``float32`` vectors."""
        return "float32" if self.family in VECTORS else "uint8"

    def source_of(self, pool: str) -> str | None:
        """Return the option that names the source of a pool's images; None if there is no such pool."""
        if pool == "train":
            return "source"
        if getattr(self, f"{pool}_source"):
            return f"{pool}_source"
        if pool == "validation" and not self.validation:
            return None
        return "test_source" if pool == "validation" and self.test_source and self.test else "source"

    def __post_init__(self) -> None:
        if self.family in VECTORS:
            check(
                self.resolution == 1,
                f"{self.family} gives vectors: resolution must be 1, not {self.resolution}",
            )
            check(self.channels >= 1, f"channels (the dimensions) must be at least 1, not {self.channels}")
        else:
            allowed = (1, 3, 4) if self.family is None else (1, 3)
            check(self.resolution >= 2, f"resolution must be at least 2, not {self.resolution}")
            check(
                self.channels in allowed, f"channels must be 1 or 3 (an array's also 4), not {self.channels}"
            )
        check((self.family is None) != (self.source is None), "give either family or source")
        check(self.train is None or self.train >= 1, f"train must be at least 1, not {self.train}")
        for pool in ("validation", "test"):
            check(getattr(self, pool) >= 0, f"{pool} must not be negative, not {getattr(self, pool)}")
        grey = self.variant != "grey" or self.channels == 1
        check(grey, f"grey images have one channel; set channels: 1, not {self.channels}")
        if self.family is not None:
            self._check_family()
        else:
            self._check_source()
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
        for key in SOURCES:
            check(getattr(self, key) is None, f"a procedural family has no {key}")
        check(self.labels is None and not self.balanced, "a procedural family has no labels")
        check(family not in VECTORS or self.variant is None, f"{family} gives vectors, which have no variant")
        check(
            family != "haar" or self.resolution & (self.resolution - 1) == 0,
            f"the haar family needs a resolution that is a power of two, not {self.resolution}",
        )
        for name, value in self.parameters.items():
            check(name in known, f"the family {family!r} has no parameter {name!r}{nearest(name, known)}")
            check(value > 0, f"{name} must be positive, not {value}")

    def _check_source(self) -> None:
        check(bool(self.test or self.test_source), "give test (a number of images) or test_source")
        check(not self.parameters, "parameters belong to a procedural family")
        check(self.bits is None or 8 <= self.bits <= 16, f"bits must be 8 to 16, not {self.bits}")
        for key in self.content_sha256:
            check(key in SOURCES, f"content_sha256 has no {key!r}{nearest(key, SOURCES)}")
        labelled = self.labels not in (None, "folder")
        for pool in ("validation", "test"):
            own = labelled and getattr(self, f"{pool}_source") is not None
            check(
                bool(getattr(self, f"{pool}_labels")) == own,
                f"labels in files need labels for source, and {pool}_labels for {pool}_source",
            )
        check(self.layout == "images" or self.labels is None, f"{self.layout} brings its own labels")
        own = self.layout == "images" or self.validation_source is None
        check(own, f"{self.layout} has no validation_source; give validation, a number of images")
        check(
            not self.balanced or self.labels is not None or self.layout not in ("images", "celeba"),
            "balanced subsets need labels, one class for each image",
        )
