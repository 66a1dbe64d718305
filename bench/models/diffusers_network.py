"""Networks of Hugging Face diffusers, from their own configuration: what `bench adopt` measures.

The package is imported only when such a network is built; it is an optional dependency.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import torch
from torch import Tensor, nn

from bench.models.layers import check_images
from bench.models.options import Must, Number
from bench.models.registry import register_model
from bench.support.torchvision_import import ensure_torchvision

Kind = Literal["UNet2DModel", "DiTTransformer2DModel"]
Config = Annotated[
    dict[str, Any], Must("the mapping of a config.json", lambda c: isinstance(c, dict) and bool(c))
]


@register_model("diffusers")
class DiffusersNetwork(nn.Module):
    """A diffusers network as x (B, C, H, W), t (B,) int64 to its output (B, C, H, W).

    ``kind`` is its class and ``config`` its ``config.json``.  A DiTTransformer2DModel is given ``label`` for every image:
    the null label unless it has one class only.  Raises ValueError where the network is for other images, or
    is a UNet2DModel that needs classes.
    """

    def __init__(
        self, image_size: int, channels: int, *, kind: Kind, config: Config, label: Number | None = None
    ) -> None:
        super().__init__()
        ensure_torchvision()  # diffusers imports it; its CUDA build fails beside a CPU build of torch
        import diffusers

        shape = channels, image_size
        if (config.get("in_channels"), config.get("sample_size")) not in (
            shape,
            (channels, [image_size] * 2),
        ):
            raise ValueError(
                f"the {kind} is for images of {config.get('sample_size')} pixels and {config.get('in_channels')} channels, "
                f"not for {image_size} and {channels}."
            )
        if kind == "UNet2DModel" and (config.get("class_embed_type") or config.get("num_class_embeds")):
            raise ValueError(
                "a UNet2DModel with classes has no null label, so it cannot be measured without labels."
            )
        self.network = getattr(diffusers, kind).from_config(config)
        self.channels, self.side = channels, image_size
        self.learned_sigma = (config.get("out_channels") or channels) == 2 * channels
        classes = config.get("num_embeds_ada_norm") if kind == "DiTTransformer2DModel" else None
        self.label = (0 if classes == 1 else classes) if label is None else label

    def raw(self, x: Tensor, t: Tensor, y: Tensor | None = None) -> Tensor:
        """Return all output channels: with learned variance the noise, then its interpolation values."""
        check_images(x, self.channels, self.side)
        labels = {} if self.label is None else {"class_labels": torch.full_like(t, self.label)}
        return self.network(x, t, **labels).sample

    def forward(self, x: Tensor, t: Tensor, y: Tensor | None = None) -> Tensor:
        return self.raw(x, t, y)[:, : self.channels]
