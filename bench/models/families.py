"""Family -> the module of its factory; a new family is a line here and leaves the results of the others current."""

from __future__ import annotations

FAMILIES = {
    "dit": "bench.models.dit",
    "unet": "bench.models.unet",
    "adm": "bench.models.unet",
    "vit": "bench.models.vit",
    "u-vit": "bench.models.vit",
    "iu-vit": "bench.models.vit",
    "ascend": "bench.models.vit",
    "bf-unet": "bench.models.bias_free",
    "bf-cnn": "bench.models.bias_free",
    "u-dit": "bench.models.u_dit",
    "identity": "bench.models.controls",
    "wiener": "bench.models.controls",
    "memoriser": "bench.models.controls",
    "local-score": "bench.models.local_score",
}
