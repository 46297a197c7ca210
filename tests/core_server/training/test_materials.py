"""The procedural generator: periodic, deterministic, and described by its captions."""

import random

import pytest
import torch

from core_server.training.materials import (
    FAMILIES,
    MaterialParams,
    caption,
    is_held_out,
    parse_prompt,
    render_layout,
    render_materials,
    sample_batch,
    sample_params,
)
from core_server.training.materials.captions import SIZE_WORDS
from core_server.training.materials.colors import COLOR_NAMES, linear_to_srgb, srgb_to_linear
from core_server.training.materials.conditions import CONDITIONS


def seam_ratio(image: torch.Tensor, axis: int) -> float:
    """The step across the border over the largest usual step inside, (B, C, S, S).

    A joint may lie at the border, so the comparison is with the strongest hundredth of the
    inner rows or columns.
    """
    steps = (image - image.roll(1, axis)).abs().mean((0, 1, 5 - axis))
    return float(steps[0] / steps[1:].quantile(0.99))


@pytest.mark.parametrize("name", FAMILIES)
def test_family_tiles_and_repeats_by_seed(name: str) -> None:
    spec = FAMILIES[name]
    turn = "turned" if spec.turned else "diagonal" if spec.diagonal else ""
    params = [
        MaterialParams(name, spec.colors[0]),
        MaterialParams(name, "teal", size="large" if spec.counts else "", turn=turn),
    ]
    first = render_materials(params, seed=3, size=64)
    again = render_materials(params, seed=3, size=64)
    other = render_materials(params, seed=4, size=64)
    for map_name in ("image", "albedo", "normal", "height", "roughness", "occlusion"):
        value = getattr(first, map_name)
        assert torch.isfinite(value).all()
        assert value.min() >= 0
        assert value.max() <= 1
        assert torch.equal(value, getattr(again, map_name))
    assert not torch.equal(first.image, other.image)
    assert max(seam_ratio(first.image, 2), seam_ratio(first.image, 3)) < 1.6


def test_every_condition_tiles() -> None:
    for name in CONDITIONS:
        rendered = render_materials(
            [MaterialParams("concrete", "grey", conditions=(name,))], seed=1, size=128
        )
        assert max(seam_ratio(rendered.image, 2), seam_ratio(rendered.image, 3)) < 1.6


def test_a_larger_canvas_holds_more_of_the_pattern() -> None:
    params = [MaterialParams("checkerboard", "black")]
    base = render_materials(params, seed=0, size=256).albedo[0, 0]
    double = render_materials(params, seed=0, size=512).albedo[0, 0]
    row = 8

    def flips(line: torch.Tensor) -> int:
        return int(((line[1:] > 0.5) != (line[:-1] > 0.5)).sum())

    assert abs(flips(double[row]) - 2 * flips(base[row])) <= 2


def test_colour_space_round_trip() -> None:
    x = torch.linspace(0, 1, 64)
    assert torch.allclose(linear_to_srgb(srgb_to_linear(x)), x, atol=1e-4)


def test_there_are_enough_families_and_colours() -> None:
    assert len(FAMILIES) >= 40
    assert len(COLOR_NAMES) == 48


def test_training_never_draws_a_held_out_pair() -> None:
    rng = random.Random(0)
    drawn = [sample_params(rng, name) for name in FAMILIES for _ in range(60)]
    assert not any(is_held_out(p.family, p.color) for p in drawn)
    pairs = [is_held_out(f, c) for f in FAMILIES for c in COLOR_NAMES]
    assert 0.02 < sum(pairs) / len(pairs) < 0.08


def test_captions_say_what_departs_from_the_default() -> None:
    rng = random.Random(1)
    params = MaterialParams(
        "wood_planks", "teal", size="large", turn="turned", conditions=("cracked",), natural=False
    )
    captions = [caption(params, rng) for _ in range(400)]
    assert sum("vertical" in text for text in captions) > 360
    assert sum(any(w in text.split() for w in SIZE_WORDS["large"]) for text in captions) > 360
    assert sum("teal" in text for text in captions) > 360
    assert len(set(captions)) > 100
    plain = [caption(MaterialParams("wood_planks", "brown"), rng) for _ in range(200)]
    assert sum("vertical" in text or "large" in text for text in plain) == 0
    assert "wood planks" in plain


def test_batches_share_at_most_two_conditions() -> None:
    batch = sample_batch(random.Random(2), "bricks", 64)
    assert len({name for p in batch for name in p.conditions}) <= 2


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("teal hexagon tiles", {"family": "hexagon_tiles", "color": "teal"}),
        ("seamless texture of red bricks with white mortar, 4k",
         {"family": "bricks", "color": "red", "accent": "white"}),
        ("large vertical wood planks, mossy",
         {"family": "wood_planks", "size": "large", "turn": "turned", "conditions": ("mossy",)}),
        ("sand bricks", {"family": "bricks", "color": "sand"}),
        ("rippled sand", {"family": "sand", "layout": "rippled"}),
        ("gold", {"family": "hammered_metal", "color": "gold"}),
        ("white marble with gold veins", {"family": "marble", "color": "white", "accent": "gold"}),
        ("quilted black leather", {"family": "quilted", "color": "black"}),
        ("mossy", {"family": "moss", "conditions": ()}),
        ("rocky ground", {"family": "rock"}),
        ("weathered red bricks, moss", {"family": "bricks", "conditions": ("worn", "mossy")}),
        ("seamless, old, roof tiles with snow",
         {"family": "roof_tiles", "conditions": ("worn", "snowy")}),
        ("grass and moss", {"family": "grass", "conditions": ()}),
        ("sci-fi panels with cyan lights",
         {"family": "scifi_panels", "color": "grey", "accent": "cyan", "tone": ""}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_prompts_are_understood(prompt: str, expected: dict[str, object]) -> None:
    parsed = parse_prompt(prompt)
    assert parsed.understood
    assert {key: getattr(parsed.params, key) for key in expected} == expected


@pytest.mark.parametrize(
    "prompt", ["", "a horse in a spacesuit", "žluťoučký kůň", "!!!", "x" * 5000]
)
def test_any_prompt_gives_a_layout(prompt: str) -> None:
    layout = render_layout(prompt, size=64, seed=1)
    assert layout.pixels.shape == (64, 64, 3)
    assert not layout.parsed.understood


def test_captions_parse_back_to_their_family() -> None:
    rng = random.Random(3)
    wrong = []
    for name in FAMILIES:
        for _ in range(10):
            params = sample_params(rng, name)
            if parse_prompt(caption(params, rng)).params.family != name:
                wrong.append(name)
    assert len(wrong) < 0.05 * 10 * len(FAMILIES), wrong


def test_layout_refuses_odd_sizes() -> None:
    with pytest.raises(ValueError, match="100"):
        render_layout("bricks", size=100)
