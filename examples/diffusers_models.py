"""Networks of Hugging Face diffusers in this benchmark: ``pip install -e '.[diffusers]'``, then

bench models check examples/diffusers_models.py:diffusers-unet
snakemake --cores 2 compare --config model=examples/diffusers_models.py:diffusers-dit suite=demo
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from bench.models.registry import register_model
from bench.support.torchvision_import import ensure_torchvision


class Adapter(nn.Module):
    """Call a diffusers network as the benchmark does: images and timesteps in, predicted noise out."""

    def __init__(self, network: nn.Module, labelled: bool = False) -> None:
        super().__init__()
        self.network, self.labelled = network, labelled

    def forward(self, x: Tensor, t: Tensor, y: Tensor | None = None) -> Tensor:
        # a network with a table of classes gets class 0 for all images: it is trained without labels
        labels = {"class_labels": torch.zeros_like(t)} if self.labelled else {}
        return self.network(x, t, **labels).sample


@register_model("diffusers-unet")
def unet(image_size: int, channels: int, width: int = 16, groups: int = 8) -> nn.Module:
    """A UNet2DModel with attention at half resolution."""
    ensure_torchvision()  # diffusers imports it; its CUDA build fails beside a CPU build of torch
    from diffusers import UNet2DModel

    network = UNet2DModel(
        sample_size=image_size,
        in_channels=channels,
        out_channels=channels,
        block_out_channels=(width, 2 * width),
        layers_per_block=1,
        down_block_types=("DownBlock2D", "AttnDownBlock2D"),
        up_block_types=("AttnUpBlock2D", "UpBlock2D"),
        norm_num_groups=groups,
    )
    return Adapter(network)


@register_model("diffusers-dit")
def dit(image_size: int, channels: int, width: int = 64, depth: int = 3, heads: int = 2) -> nn.Module:
    """A DiTTransformer2DModel with patches of 2 pixels."""
    ensure_torchvision()
    from diffusers import DiTTransformer2DModel

    network = DiTTransformer2DModel(
        sample_size=image_size,
        in_channels=channels,
        out_channels=channels,
        num_layers=depth,
        num_attention_heads=heads,
        attention_head_dim=width // heads,
        patch_size=2,
        num_embeds_ada_norm=1,
    )
    return Adapter(network, labelled=True)
