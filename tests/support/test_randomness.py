"""Draws are a function of their position, and all 64 bits of the position's key reach every generator."""

from __future__ import annotations

import numpy as np
import torch

from bench.support import randomness
from bench.support.randomness import generator, numpy_generator, seed_all


def draws(made: torch.Generator) -> list[int]:
    return torch.randint(2**16, (700,), generator=made).tolist()  # more than the state's 624 words


def test_a_position_gives_its_draws_and_no_other_does():
    assert draws(generator(1, "x", 2)) == draws(generator(1, "x", 2))
    others = [generator(2, "x", 2), generator(1, "y", 2), generator(1, "x", 3)]
    assert draws(generator(1, "x", 2)) not in [draws(other) for other in others]
    assert numpy_generator(1, "x", 2).random() == numpy_generator(1, "x", 2).random()


def test_positions_whose_keys_share_their_low_32_bits_draw_other_numbers(monkeypatch):
    monkeypatch.setattr(randomness, "_key", lambda seed, stream, step: step << 32 | 7)
    assert draws(generator(0, "x", 1)) != draws(generator(0, "x", 2))
    seed_all(0, "x", 1)
    first = torch.rand(4)
    seed_all(0, "x", 2)
    assert not torch.equal(first, torch.rand(4))


def test_the_state_is_that_of_a_mersenne_twister():
    """Torch keeps the layout of its state private: this tells when it changes."""
    made = generator(1, "x", 2)
    words = made.get_state()[24 : 24 + 8 * 624].numpy().view(np.uint64)
    twister = np.random.MT19937()
    twister.state = {"bit_generator": "MT19937", "state": {"key": words.astype(np.uint32), "pos": 624}}
    assert draws(made) == (twister.random_raw(700) % 2**16).tolist()


def test_the_default_generator_draws_as_one_of_the_same_position():
    seed_all(1, "x", 2)
    assert torch.equal(torch.randn(5), torch.randn(5, generator=generator(1, "x", 2)))
