"""Weights of the official checkpoints of DiT, improved- and guided-diffusion, EDM, U-ViT and U-DiT under the names here.

Each map is proven by the reference fixtures: the network with renamed weights gives the official outputs.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from bench.support.errors import BenchError

Rules = list[tuple[str, str | Callable[[re.Match], str]]]

_PARTS: Rules = [
    (r"\.attn\.qkv", ".attention.qkv"),
    (r"\.attn\.proj", ".attention.out"),
    (r"\.mlp\.fc1", ".mlp.first"),
    (r"\.mlp\.fc2", ".mlp.second"),
]
_DIT: Rules = [
    (r"^pos_embed", "positions"),
    (r"^x_embedder\.proj", "patches"),
    (r"^t_embedder\.mlp\.0", "time.first"),
    (r"^t_embedder\.mlp\.2", "time.second"),
    (r"^y_embedder\.embedding_table", "labels"),
    (r"^final_layer\.linear", "head.out"),
    (r"^final_layer\.adaLN_modulation\.1", "head.modulation"),
    *_PARTS,
    (r"\.adaLN_modulation\.1", ".modulation"),
]
_UNET: Rules = [
    (r"^time_embed\.0", "time.first"),
    (r"^time_embed\.2", "time.second"),
    (r"^label_emb\.", "label."),
    (r"^input_blocks\.0\.0", "stem"),
    (r"^input_blocks\.(\d+)\.(\d)(\.op)?", lambda m: f"down.{int(m[1]) - 1}.parts.{m[2]}{'.conv' if m[3] else ''}"),
    (r"^middle_block\.", "middle.parts."),
    (r"^output_blocks\.(\d+)\.", r"up.\1.parts."),
    (r"^out\.0", "norm"),
    (r"^out\.2", "head"),
    (r"\.in_layers\.0", ".norm1"),
    (r"\.in_layers\.2", ".conv1"),
    (r"\.emb_layers\.1", ".condition"),
    (r"\.out_layers\.0", ".norm2"),
    (r"\.out_layers\.3", ".conv2"),
    (r"\.skip_connection", ".skip"),
    (r"\.proj_out", ".out"),
]  # fmt: skip
_EDM: Rules = [
    (r"^model\.map_augment\.weight$", ""),  # of labels that are zero outside of EDM's own training
    (r"^model\.", ""),
    (r"^map_noise\.freqs", "condition.frequencies"),
    (r"^map_label", "condition.label"),
    (r"^map_layer0", "condition.first"),
    (r"^map_layer1", "condition.second"),
    (r"^enc\.\d+x\d+_conv", "stem"),
    (r"^enc\.(\d+)x\d+_aux_residual", r"down.\1.residual.0"),
    (r"\.residual\.0\.resample_filter", ".residual.1.filter"),
    (r"^enc\.(\d+)x\d+_", r"down.\1."),
    (r"^dec\.\d+x\d+_aux_norm", "norm"),
    (r"^dec\.\d+x\d+_aux_conv", "head"),
    (r"^dec\.\d+x\d+_in", "middle."),
    (r"^dec\.(\d+)x\d+_", r"up.\1."),
    (r"^((?:down|up)\.\d+)\.block", r"\1.blocks."),
    (r"^((?:down|up)\.\d+)\.(down|up)\.", r"\1.change."),
    (r"\.(conv0|skip)\.resample_filter", ".resample.filter"),
    (r"\.norm2\.", ".attention.norm."),
    (r"\.norm1\.", ".norm2."),
    (r"\.norm0\.", ".norm1."),
    (r"\.conv1\.", ".conv2."),
    (r"\.conv0\.", ".conv1."),
    (r"\.affine\.", ".condition."),
    (r"\.qkv\.", ".attention.qkv."),
    (r"\.proj\.", ".attention.out."),
]
_U_VIT: Rules = [
    (r"^pos_embed", "positions"),
    (r"^patch_embed\.proj", "stem"),
    (r"^in_blocks", "encoder"),
    (r"^mid_block", "middle"),
    (r"^out_blocks", "decoder"),
    (r"^decoder_pred", "out"),
    (r"^final_layer", "output_conv"),
    (r"\.skip_linear", ".fuse"),
    (r"\.norm1", ".attention_norm"),
    (r"\.norm2", ".mlp_norm"),
    *_PARTS,
]
_U_DIT: Rules = [
    (r"^x_embedder\.proj", "stem"),
    (r"^t_embedder_(\d)\.mlp\.0", lambda m: f"conditions.{int(m[1]) - 1}.time.first"),
    (r"^t_embedder_(\d)\.mlp\.2", lambda m: f"conditions.{int(m[1]) - 1}.time.second"),
    (r"^y_embedder_(\d)\.embedding_table", lambda m: f"conditions.{int(m[1]) - 1}.label"),
    (r"^encoder_level_(\d)", lambda m: f"levels.{int(m[1]) - 1}"),
    (r"^latent", "levels.2"),
    (r"^decoder_level_(\d)", lambda m: f"levels.{5 - int(m[1])}"),
    (r"^down(\d)_\d\.body", lambda m: f"down.{int(m[1]) - 1}"),
    (r"^up(\d)_\d\.body", lambda m: f"up.{3 - int(m[1])}"),
    (r"^reduce_chan_level(\d)", lambda m: f"join.{2 - int(m[1])}"),
    (r"^output", "tail"),
    (r"^final_layer\.out_proj", "head"),
    (r"^final_layer\.adaLN_modulation\.1", "modulation"),
    # the two pairs of one listed block stand one after the other here
    (r"^(levels\.\d)\.(\d)\.(attn|mlp|adaLN_modulation)(\d)", lambda m: f"{m[1]}.{2 * int(m[2]) + int(m[4]) - 1}.{m[3]}"),
    (r"\.attn\.logit_scale", ".attention.factor"),
    (r"\.attn\.to_qkv", ".attention.qkv"),
    (r"\.attn\.to_out", ".attention.out"),
    (r"\.attn\.downsampler\.layer", ".attention.mix.kernels.0"),
    (r"\.mlp\.project_in", ".mlp.first"),
    (r"\.mlp\.dwconv", ".mlp.mix.kernels"),
    (r"\.mlp\.project_out", ".mlp.second"),
    (r"\.adaLN_modulation\.1", ".modulation"),
]  # fmt: skip
# A name that only the checkpoints of one project hold -> project, rules
PROJECTS: dict[str, tuple[str, Rules]] = {
    "final_layer.linear.weight": ("DiT", _DIT),
    "input_blocks.0.0.weight": ("improved- or guided-diffusion", _UNET),
    "model.map_layer0.weight": ("EDM", _EDM),
    "decoder_pred.weight": ("U-ViT", _U_VIT),
    "final_layer.out_proj.weight": ("U-DiT", _U_DIT),
}


def project_of(weights: Mapping[str, Tensor]) -> str:
    """Return the project whose names the weights have, or 'this project'."""
    return next((name for mark, (name, _) in PROJECTS.items() if mark in weights), "this project")


def renamed(weights: Mapping[str, Tensor], model: nn.Module, where: str) -> dict[str, Tensor]:
    """Return weights by the names of ``model``, float32 and in its shapes; its own names stay as they are.

    Trailing dimensions of 1 do not count: a 1x1 convolution may be a linear map here.  Raises BenchError, which begins
    with ``where``, for a missing or superfluous name, another shape, fixed values (positions) that differ, and values
    that are not finite.
    """
    rules = next((rules for mark, (_, rules) in PROJECTS.items() if mark in weights), [])
    state, found = model.state_dict(), {}
    fixed = {name: buffer for name, buffer in model.named_buffers() if name not in state}
    for theirs, value in weights.items():
        if not (name := _ours(theirs, rules)):
            continue
        mine = state.get(name, fixed.get(name))
        if mine is None:
            raise BenchError(
                f"{where}: the network has no {theirs!r}; give the options that it was trained with."
            )
        if _plain(mine) != _plain(value):
            raise BenchError(
                f"{where}: {theirs!r} has the shape {tuple(value.shape)}, the network's is {tuple(mine.shape)}; "
                "give the options that it was trained with."
            )
        value = value.to(mine.dtype).reshape(mine.shape)
        if not bool(value.isfinite().all()):
            raise BenchError(f"{where}: {theirs!r} holds values that are not finite.")
        if name in state:
            found[name] = value
        elif not torch.allclose(value, mine, atol=1e-5):
            raise BenchError(f"{where}: {theirs!r} holds other values than the network's fixed ones.")
    if missing := [name for name in state if name not in found]:
        raise BenchError(
            f"{where} lacks {missing[0]!r} ({len(missing)} of {len(state)} are missing); give the options that the "
            "network was trained with."
        )
    return found


def _ours(name: str, rules: Rules) -> str:
    for pattern, replacement in rules:
        name = re.sub(pattern, replacement, name)
    return name


def _plain(value: Tensor) -> tuple[int, ...]:
    shape = tuple(value.shape)
    while shape and shape[-1] == 1:
        shape = shape[:-1]
    return shape
