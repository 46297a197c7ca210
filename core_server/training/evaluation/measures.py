"""The scores of a set of pictures, each painted for a question; all pictures 256 x 256 RGB uint8."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, median

import numpy as np
import numpy.typing as npt
import torch

from core_server.training.evaluation.classifier import (
    WEIGHTS_FOLDER,
    MaterialClassifier,
    Reading,
    read_pictures,
)
from core_server.training.evaluation.color import color_error, look_alikes
from core_server.training.evaluation.data import load_labelled_photos
from core_server.training.evaluation.distance import (
    frechet_distance,
    kernel_distance,
    nearest,
    whiten,
)
from core_server.training.evaluation.perceptual import PerceptualNetwork
from core_server.training.evaluation.prompts import Question
from core_server.training.materials import MaterialParams, render_materials
from core_server.training.materials.colors import COLOR_NAMES

Picture = npt.NDArray[np.uint8]
SIDE = 256


def true_picture(question: Question, *, draw: int = 0) -> Picture:
    """What the generator itself draws for the question: the ceiling of every score. draw: which one."""
    params = MaterialParams(question.family, question.color, natural=False)
    image = render_materials([params], seed=question.seed + 100_000 * (draw + 1), size=SIDE).image[
        0
    ]
    return np.ascontiguousarray((image.permute(1, 2, 0) * 255 + 0.5).byte().numpy())


@dataclass(frozen=True)
class ColorScores:
    """median_error: CIEDE2000 to the range of the asked name; control: to the range of another name,
    24 places further in the table.
    """

    median_error: float
    worst_tenth: float
    control: float


def color_scores(pictures: Sequence[Picture], asked: Sequence[Question]) -> ColorScores:
    """Colour measured in the pixels, without any network."""
    errors = [color_error(p, q.color) for p, q in zip(pictures, asked, strict=True)]
    half = len(COLOR_NAMES) // 2
    others = [
        COLOR_NAMES[(COLOR_NAMES.index(question.color) + half) % len(COLOR_NAMES)]
        for question in asked
    ]
    control = [color_error(p, name) for p, name in zip(pictures, others, strict=True)]
    return ColorScores(median(errors), float(np.quantile(errors, 0.9)), median(control))


@dataclass(frozen=True)
class Obedience:
    """Shares in [0, 1]. color also counts a name of the same look (`look_alikes`), color_strict only the
    asked word. No two families look alike: true renders of plain prompts are all read right.
    """

    material: float
    material_top3: float
    color: float
    color_strict: float


def load_classifier(folder: Path = WEIGHTS_FOLDER) -> MaterialClassifier | None:
    """The shipped classifier; None if its weights are not there."""
    return MaterialClassifier.load(folder) if (folder / "classifier.json").exists() else None


def read(classifier: MaterialClassifier, pictures: Sequence[Picture]) -> list[Reading]:
    """What the classifier sees in each picture."""
    return read_pictures(classifier, as_tensor(pictures))


def obedience(readings: Sequence[Reading], asked: Sequence[Question]) -> Obedience:
    """How often the readings are what was asked."""
    pairs = list(zip(readings, asked, strict=True))
    return Obedience(
        mean(r.families[0] == q.family for r, q in pairs),
        mean(q.family in r.families for r, q in pairs),
        mean(r.colors[0] in look_alikes(q.color) for r, q in pairs),
        mean(r.colors[0] == q.color for r, q in pairs),
    )


@dataclass(frozen=True)
class Likeness:
    """Distances in the feature space of `perceptual`; features scaled by the photographs.

    kernel: unbiased squared MMD, x 1000. kernel_floor: photographs kept out of training against the
    others. kernel_renders: true renders against photographs. novelty: median distance of a picture
    to its nearest of the renders, over that of a render to its nearest other render. copies: share
    of pictures nearer to a render than all but 1 % of the renders are to each other.
    """

    kernel: float
    kernel_floor: float
    kernel_renders: float
    frechet: float
    frechet_renders: float
    novelty: float
    copies: float


def likeness(
    pictures: Sequence[Picture],
    renders: Sequence[Picture],
    network: PerceptualNetwork,
    photos: Path,
) -> Likeness:
    """Pictures against CC0 photographs and against fresh renders of the training distribution."""
    seen = load_labelled_photos(photos, "cpu", evaluation=False).pixels[::4]
    kept = load_labelled_photos(photos, "cpu", evaluation=True).pixels[::2]

    def features(values: torch.Tensor) -> npt.NDArray[np.float64]:
        return network.features(values).double().numpy()

    raw = [features(t) for t in (seen, kept, as_tensor(pictures), as_tensor(renders))]
    known, held_out, mine, true = whiten(raw[0], *raw)
    own, others = nearest(mine, true), nearest(true, true, same=True)
    # Fewer numbers than pictures, or the covariance means nothing: the means after stride 8 only.
    few = slice(0, 40)
    return Likeness(
        1000 * kernel_distance(mine, known),
        1000 * kernel_distance(held_out, known),
        1000 * kernel_distance(true, known),
        frechet_distance(mine[:, few], known[:, few]),
        frechet_distance(true[:, few], known[:, few]),
        float(np.median(own) / np.median(others)),
        float((own < np.quantile(others, 0.01)).mean()),
    )


def as_tensor(pictures: Sequence[Picture]) -> torch.Tensor:
    """(n, 3, H, W) uint8."""
    return torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).contiguous()
