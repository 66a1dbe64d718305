"""DINOv2 from weights equals the official network; what is no DINOv2 is one sentence."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from dinov2_weights import inputs, weights
from safetensors.torch import save_file

from bench.metrics.numerics.dinov2 import dinov2
from bench.metrics.numerics.placed import open_placed
from bench.support.errors import BenchError
from bench.support.files import sha256


@pytest.fixture(scope="module")
def stored() -> tuple[dict, torch.Tensor]:
    """The weights of a small network by official names, and its outputs."""
    with np.load(Path(__file__).parent / "fixtures" / "dinov2.npz", allow_pickle=False) as file:
        return weights(json.loads(file["config"].item())["shapes"]), torch.from_numpy(file["out"])


def of_transformers(state: dict) -> dict:
    """Return the weights as transformers' Dinov2Model names them."""
    found = {}
    for name, value in state.items():
        new = name.replace("blocks.", "encoder.layer.").replace("attn.proj", "attention.output.dense")
        new = new.replace("ls1.gamma", "layer_scale1.lambda1").replace("ls2.gamma", "layer_scale2.lambda1")
        new = new.replace("patch_embed.proj", "embeddings.patch_embeddings.projection")
        new = new.replace("pos_embed", "embeddings.position_embeddings")
        new = new.replace("cls_token", "embeddings.cls_token").replace("mask_token", "embeddings.mask_token")
        if new.startswith("norm."):
            new = f"layer{new}"
        if "attn.qkv" in new:
            for part, third in zip(("query", "key", "value"), value.chunk(3)):
                found[new.replace("attn.qkv", f"attention.attention.{part}")] = third.contiguous()
        else:
            found[new] = value
    return found


@pytest.mark.parametrize("form", ["official.pth", "official.safetensors", "transformers.safetensors"])
@torch.no_grad()
def test_equals_the_official_network(stored, tmp_path, form):
    state, out = stored
    file = tmp_path / form
    if form == "official.pth":
        torch.save(state, file)
    else:
        save_file(of_transformers(state) if "transformers" in form else state, file)
    found = dinov2(file, 224)(inputs())
    assert (found - out).abs().max() < 1e-5 * out.abs().max()


@torch.no_grad()
def test_positions_of_the_grid_itself_are_taken_as_they_are(stored, tmp_path):
    """Images of 42 pixels need no interpolation: the class token sees positions, so another table changes it."""
    file = tmp_path / "net.safetensors"
    save_file(stored[0], file)
    network = dinov2(file, 42)
    assert torch.equal(network.encoder.pos_embedding, stored[0]["pos_embed"])


def test_as_a_placed_space(stored, tmp_path, monkeypatch):
    file = tmp_path / "net.safetensors"
    save_file(stored[0], file)
    monkeypatch.setenv("BENCH_DINOV2", str(file))
    space = open_placed("dinov2", sha256(file), "cpu")
    with torch.no_grad():
        found = space.extract(np.random.default_rng(0).integers(0, 256, (3, 8, 8, 1), dtype=np.uint8))
    assert space.name == f"dinov2-{sha256(file)[:8]}" and found.shape == (3, 128) and found.isfinite().all()


class Code:
    """What a pickle may hold."""


BAD = {
    "registers": ({"register_tokens": torch.zeros(1, 4, 128)}, "Unexpected key.*register_tokens"),
    "giant": ({"blocks.0.mlp.w12.weight": torch.zeros(2, 2)}, "Unexpected key.*mlp.w12"),
    "a missing layer": ({"blocks.2.norm1.weight": torch.ones(128)}, "without registers"),
    "no heads": ({"cls_token": torch.zeros(1, 1, 32)}, "without registers"),
    "nothing of it": (None, "'cls_token'"),
}


@pytest.mark.parametrize("case", BAD)
def test_another_network_is_one_sentence(stored, tmp_path, case):
    more, words = BAD[case]
    file = tmp_path / "net.safetensors"
    save_file({"layer.weight": torch.ones(1)} if more is None else stored[0] | more, file)
    with pytest.raises(
        BenchError, match=f"holds no weights of a DINOv2 of size S, B or L.*{words}"
    ) as raised:
        dinov2(file, 224)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("content", [b"no file of tensors", None])
@pytest.mark.parametrize("name", ["net.pth", "net.safetensors"])
def test_a_damaged_file_or_code_is_one_sentence(tmp_path, name, content):
    file = tmp_path / name
    if content is None:
        torch.save({"model": Code()}, file)
    else:
        file.write_bytes(content)
    with pytest.raises(BenchError, match="is damaged or not a weights file|holds pickled code") as raised:
        dinov2(file, 224)
    assert "\n" not in str(raised.value)


def test_a_file_of_something_else_is_one_sentence(tmp_path):
    torch.save([torch.ones(1)], tmp_path / "net.pth")
    with pytest.raises(BenchError, match="holds no weights by name"):
        dinov2(tmp_path / "net.pth", 224)
