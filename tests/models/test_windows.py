"""Attention windows: lists, the short form, placements, and what is refused."""

from __future__ import annotations

import subprocess
import sys

import pytest

from bench.models.windows import describe, parse_windows

LOCAL = [3, 5, 7, 9, 11, 13]
STAR = [3, 3, 3, 5, 5, 5, 7, 7, 7]
GLOBAL = [None] * 6


@pytest.mark.parametrize("text", [None, "global", [None] * 4])
def test_global(text):
    assert parse_windows(text, 4) == [None] * 4


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("3,5,7,9,11,13@head", LOCAL + GLOBAL),
        ("3,5,7,9,11,13", LOCAL + GLOBAL),
        ("3,5,7,9,11,13@tail", GLOBAL + LOCAL),
        ("3,5,7,9,11,13@mix", [3, None, 5, None, 7, None, 9, None, 11, None, 13, None]),
        ("3*3,5*3,7*3@head", [*STAR, None, None, None]),
        ("3*3,5*3,7*3@tail", [None, None, None, *STAR]),
        ("3*3,5*3,7*3@mix", [3, 3, 3, None, 5, 5, 5, None, 7, 7, 7, None]),
        (" 3 * 2 , 5 @ head", [3, 3, 5, *[None] * 9]),
        ("3*12", [3] * 12),
        ("1@mix", [1, *[None] * 11]),
        ([3, None, *[5] * 10], [3, None, *[5] * 10]),
    ],
)
def test_twelve_layers(text, expected):
    assert parse_windows(text, 12) == expected


@pytest.mark.parametrize(
    ("family", "options", "words"),
    [
        ("dit", {"depth": 6}, ""),
        ("dit", {"depth": 6, "windows": "3,3,5@head"}, "windows 3,3,5 in layers 1-3 of 6"),
        ("dit", {"depth": 6, "windows": "3,3,5@mix"}, "windows 3,3,5 in layers 1, 3, 5 of 6"),
        ("dit", {"depth": 6, "windows": "3,3,5@tail"}, "windows 3,3,5 in layers 4-6 of 6"),
        ("u-vit", {"depth": 4, "windows": "5"}, "windows 5 in layer 1 of 5"),
        ("ascend", {"encoder": 2, "decoder": 1, "windows": "3*3"}, "windows 3,3,3 in layers 1-3 of 3"),
        ("mine", {"windows": [None, 3]}, "windows 3 in layer 2 of 2"),
    ],
)
def test_windows_in_words(family, options, words):
    assert describe(family, options) == words


def test_mix_of_an_odd_depth_uses_the_last_layer():
    assert parse_windows("3*3@mix", 5) == [3, None, 3, None, 3]
    assert parse_windows("3*4@mix", 5) == [3, 3, 3, 3, None]
    assert parse_windows("3@mix", 1) == [3]


def test_window_as_wide_as_the_reach_is_global():
    assert parse_windows("5,7,9@head", 3, side=4) == [5, None, None]
    assert parse_windows([7, 5], 2, side=3) == [None, None]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("4@head", "odd"),
        ("0", "odd"),
        ([3, 4], "odd"),
        ([3, -1], "odd"),
        ([3, True], "not True"),
        ([3, 5.0], "not 5.0"),
        ([3], "1 entries for 2 layers"),
        ("3*3", "names 3 layers; the network has 2"),
        ("3@middle", "@head, @mix or @tail"),
        ("3@", "@head, @mix or @tail"),
        ("3,,5", "neither a window"),
        ("", "neither a window"),
        ("3*0", "neither a window"),
        ("three", "'three' is neither"),
    ],
)
def test_refused(text, message):
    with pytest.raises(ValueError, match=message):
        parse_windows(text, 2)


def test_neither_windows_nor_registry_import_torch():
    rooms = "bench.models.windows, bench.models.registry, bench.cli.models"
    code = f"import sys, {rooms}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
