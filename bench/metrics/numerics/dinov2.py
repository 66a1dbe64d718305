"""DINOv2 (Oquab et al. 2023) from its weights alone, computed by torchvision's vision transformer.

The two networks differ in DINOv2's factor of each branch, which is multiplied into the last map of that branch, and in
its positions, which are for a finer grid and are interpolated once.  Weights are named as in the official files, or as
in transformers' ``Dinov2Model``.
"""

from __future__ import annotations

import functools
import re
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bench.support.errors import BenchError
from bench.support.tensor_files import tensors
from bench.support.torchvision_import import ensure_torchvision

ENDINGS = (".safetensors", ".pth")  # of files of weights
HEAD = 64  # width of a head, in every published size
EPSILON = 1e-6
OFFSET = 0.1  # of the official interpolation of positions
State = dict[str, Tensor]

# transformers' names -> official ones; q, k and v are joined afterwards
_RENAMED = [
    (r"^(dinov2\.)?embeddings\.(cls_token|mask_token)", r"\2"),
    (r"^(dinov2\.)?embeddings\.position_embeddings", "pos_embed"),
    (r"^(dinov2\.)?embeddings\.patch_embeddings\.projection", "patch_embed.proj"),
    (r"^(dinov2\.)?encoder\.layer\.", "blocks."),
    (r"^(dinov2\.)?layernorm\.", "norm."),
    (r"\.attention\.attention\.", ".attn."),
    (r"\.attention\.output\.dense\.", ".attn.proj."),
    (r"\.layer_scale(\d)\.lambda1", r".ls\1.gamma"),
]
# official names -> torchvision's
_OURS = [
    (r"^cls_token", "class_token"),
    (r"^pos_embed", "encoder.pos_embedding"),
    (r"^patch_embed\.proj\.", "conv_proj."),
    (r"^norm\.", "encoder.ln."),
    (r"^blocks\.(\d+)\.", r"encoder.layers.encoder_layer_\1."),
    (r"\.norm(\d)\.", r".ln_\1."),
    (r"\.attn\.qkv\.", ".self_attention.in_proj_"),
    (r"\.attn\.proj\.", ".self_attention.out_proj."),
    (r"\.mlp\.fc1\.", ".mlp.0."),
    (r"\.mlp\.fc2\.", ".mlp.3."),
]


def dinov2(file: Path, side: int) -> nn.Module:
    """Return the network of a file of weights: images (n, 3, side, side) to normalised class tokens (n, width).

    Raises BenchError for a file that is damaged, holds code, or is no DINOv2 of size S, B or L without registers.
    """
    given = tensors(file)
    try:
        state = {key: value.float() for key, value in _named(given).items() if key != "mask_token"}
        width, patch = state["cls_token"].shape[-1], state["patch_embed.proj.weight"].shape[-1]
        depth = 1 + max(int(key.split(".")[1]) for key in state if key.startswith("blocks."))
        hidden = state["blocks.0.mlp.fc1.bias"].shape[0]
        state["pos_embed"] = _positions(state["pos_embed"], side // patch)
        network = _network(side, patch, depth, width, hidden)
        network.load_state_dict({_replaced(k, _OURS): v for k, v in _without_factors(state).items()})
    except (
        LookupError,
        ValueError,
        TypeError,
        AttributeError,
        ArithmeticError,
        RuntimeError,
        AssertionError,
    ) as error:
        first = str(error).strip().splitlines()[-1].strip().rstrip(".")
        raise BenchError(
            f"{file} holds no weights of a DINOv2 of size S, B or L without registers ({first}); give its model.safetensors "
            "or official .pth file, or the network as TorchScript."
        ) from error
    return network.eval().requires_grad_(False)


def _network(side: int, patch: int, depth: int, width: int, hidden: int) -> nn.Module:
    ensure_torchvision()
    from torchvision.models.vision_transformer import VisionTransformer

    norm = functools.partial(nn.LayerNorm, eps=EPSILON)
    network = VisionTransformer(side, patch, depth, width // HEAD, width, hidden, norm_layer=norm)
    network.heads = nn.Identity()
    return network


def _named(state: State) -> State:
    """Return weights by official names, q, k and v of a layer joined."""
    found = {_replaced(key, _RENAMED): value for key, value in state.items()}
    for key in [key for key in found if ".attn.query." in key]:
        parts = [found.pop(key.replace("query", part)) for part in ("query", "key", "value")]
        found[key.replace("query", "qkv")] = torch.cat(parts)
    return found


def _without_factors(state: State) -> State:
    """Return weights with the factor of each branch multiplied into its last map."""
    found = dict(state)
    for number, last in (("1", "attn.proj"), ("2", "mlp.fc2")):
        for key in [key for key in state if key.endswith(f".ls{number}.gamma")]:
            block, factor = key.removesuffix(f"ls{number}.gamma"), found.pop(key)
            found[f"{block}{last}.weight"] = factor[:, None] * found[f"{block}{last}.weight"]
            found[f"{block}{last}.bias"] = factor * found[f"{block}{last}.bias"]
    return found


def _positions(table: Tensor, grid: int) -> Tensor:
    """Return positions (1, 1 + own**2, width) interpolated to (1, 1 + grid**2, width), as the official code does."""
    own = round((table.shape[1] - 1) ** 0.5)
    if own == grid:
        return table
    image = table[:, 1:].unflatten(1, (own, own)).permute(0, 3, 1, 2)
    scale = (grid + OFFSET) / own
    image = F.interpolate(image, scale_factor=(scale, scale), mode="bicubic")
    return torch.cat([table[:, :1], image.flatten(2).transpose(1, 2)], dim=1)


def _replaced(name: str, rules: list[tuple[str, str]]) -> str:
    for pattern, replacement in rules:
        name = re.sub(pattern, replacement, name)
    return name
