"""Family -> the module of its factory; a new family is a line here and leaves the results of the others current."""

from __future__ import annotations

FAMILIES = {
    "dit": "bench.models.dit",
    "unet": "bench.models.unet",
    "adm": "bench.models.unet",
    "edm": "bench.models.edm",
    "vit": "bench.models.vit",
    "u-vit": "bench.models.vit",
    "iu-vit": "bench.models.vit",
    "ascend": "bench.models.vit",
    "u-dit": "bench.models.u_dit",
    "bf-unet": "bench.models.bias_free",
    "bf-cnn": "bench.models.bias_free",
    "nf-unet": "bench.models.norm_free",
    "nf-resnet": "bench.models.norm_free",
    "mlp": "bench.models.mlp",
    "diffusers": "bench.models.diffusers_network",
    "identity": "bench.models.controls",
    "wiener": "bench.models.controls",
    "wiener-pool": "bench.models.controls",
    "memoriser": "bench.models.controls",
    "local-score": "bench.models.local_score",
}
VECTORS = ("mlp", "identity", "wiener", "wiener-pool", "memoriser")  # the others are for images
# Families in closed form: they are fitted, not trained
CONTROLS = tuple(f for f, m in FAMILIES.items() if m in ("bench.models.controls", "bench.models.local_score"))
