"""Weights, wildcards and styles: what becomes of a prompt's text."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core_server.errors import InvalidRequest
from core_server.pipelines.words.styles import PLACE, Styles
from core_server.pipelines.words.weights import (
    MAX_WEIGHT,
    Fragment,
    fragments,
    is_beyond,
    is_weighted,
    plain,
)
from core_server.pipelines.words.wildcards import expand, has_wildcards


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("a wall", [("a wall", 1.0)]),
        ("a (mossy:1.3) wall", [("a ", 1.0), ("mossy", 1.3), (" wall", 1.0)]),
        ("(all of it:0.5)", [("all of it", 0.5)]),
        ("(a (b:2) c:0.5)", [("a ", 0.5), ("b", 1.0), (" c", 0.5)]),
        ("(old) wall", [("(old) wall", 1.0)]),
        ("(a: b) wall", [("(a: b) wall", 1.0)]),
        ("(ratio 3:4) x", [("ratio 3", 4.0), (" x", 1.0)]),
        (r"\(mossy:1.3\) wall", [("(mossy:1.3) wall", 1.0)]),
        ("(never closed:1.2", [("(never closed:1.2", 1.0)]),
        ("x) (y:1.5)", [("x) ", 1.0), ("y", 1.5)]),
        ("(strong:99)", [("strong", MAX_WEIGHT)]),
        ("((nested:1.2) (b:2):1.5)", [("nested", 1.2 * 1.5), (" ", 1.5), ("b", 3.0)]),
        ("", []),
    ],
)
def test_weights(prompt: str, expected: list[tuple[str, float]]) -> None:
    assert list(fragments(prompt)) == [Fragment(*it) for it in expected]
    assert is_weighted(prompt) == any(weight != 1 for _, weight in expected)
    assert is_beyond(prompt) == ("99" in prompt)


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("(" * 1500 + "a" + ":1)" * 1500, [Fragment("a")]),
        ("((a:" + "9" * 400 + "):0)", [Fragment("a", 0.0)]),
        ("(" * 8000, [Fragment("(" * 8000)]),
    ],
    ids=["deep", "beyond numbers", "never closed"],
)
def test_prompts_that_nobody_would_write(prompt: str, expected: list[Fragment]) -> None:
    assert list(fragments(prompt)) == expected


@given(st.text(alphabet="ab (:1.2)\\{}|", max_size=60))
def test_no_prompt_breaks_the_parser(prompt: str) -> None:
    pieces = fragments(prompt)
    assert plain(prompt) == "".join(piece.text for piece in pieces)
    assert all(0 <= piece.weight <= MAX_WEIGHT for piece in pieces)
    if "(" not in prompt and "\\" not in prompt:
        assert plain(prompt) == prompt


def test_wildcards_are_chosen_by_the_seed() -> None:
    prompt = "{oak|pine|birch} planks, {old|new {red|blue}} paint, {plain}, {|wet}"
    seen = {expand(prompt, seed) for seed in range(60)}
    assert len(seen) > 10
    assert all("plain}" in it and "|" not in it for it in seen)
    assert expand(prompt, 7) == expand(prompt, 7)
    counts = [sum(expand("{a|b|c}", seed) == it for seed in range(600)) for it in "abc"]
    assert min(counts) > 150
    assert not has_wildcards("{no} choice {here}")


def test_the_choices_are_part_of_the_contract() -> None:
    """Recipes are repeated for years: these must never change."""
    assert [expand("{a|b|c|d}", seed) for seed in range(8)] == list("baabaadd")


def test_too_many_wildcards() -> None:
    with pytest.raises(InvalidRequest, match="more than 100 wildcards"):
        expand("{a|b}" * 200, 0)


def test_styles(tmp_path: Path) -> None:
    styles = Styles(tmp_path)
    shipped = styles.all()
    assert all(style.prompt.count(PLACE) == 1 for style in shipped.values())
    assert styles.find("watercolour").apply("a fox", "dog") == (
        "watercolour painting of a fox, soft washes, paper grain",
        "dog, photograph, render",
    )
    own = {"watercolour": "{prompt} in blue", "mine": {"prompt": "my {prompt}"}}
    (tmp_path / "styles.json").write_text(json.dumps(own))
    assert styles.find("watercolour").apply("x", "") == ("x in blue", "")
    assert styles.find("mine").is_own
    with pytest.raises(InvalidRequest, match=r"There is no style 'none'; there are .*mine"):
        styles.find("none")


@pytest.mark.parametrize(
    "content", ["{", "[]", '{"a": 1}', '{"a": {"prompt": "no place"}}', '{"a": {}}']
)
def test_a_broken_styles_file(tmp_path: Path, content: str) -> None:
    (tmp_path / "styles.json").write_text(content)
    with pytest.raises(InvalidRequest, match=r"styles\.json is broken"):
        Styles(tmp_path).all()
