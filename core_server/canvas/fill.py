"""What lies under the mask before denoising starts. Pictures: (height, width, 3) float32 sRGB 0..1."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from core_server.canvas.plan import FillMode

FloatArray = npt.NDArray[np.float32]

NEUTRAL = 0.5
"""Grey of the NEUTRAL fill, sRGB."""
_TELEA_RADIUS = 5


def fill(image: FloatArray, mask: FloatArray, mode: FillMode) -> FloatArray:
    """A picture whose masked part is replaced; pixels where `mask` is 0 are bit-identical to `image`'s.

    mask: (height, width) 0..1; where it is between, old and new are mixed. mode: not AUTO. Without any unmasked pixel
    there are no surroundings and every mode but NONE gives neutral grey.
    """
    if mode is FillMode.NONE:
        return image
    hole = mask > 0
    if mode is FillMode.NEUTRAL or bool(hole.all()):
        new = np.full_like(image, NEUTRAL)
    elif mode is FillMode.BLUR:
        new = _spread(image, ~hole)
    elif mode is FillMode.BORDER:
        new = _nearest(image, hole)
    elif mode is FillMode.STRUCTURE:
        new = _structure(image, hole)
    else:
        raise ValueError(f"the fill mode must be resolved before, not {mode}")
    weight = mask[..., None]
    return np.asarray(np.where(weight == 0, image, image + (new - image) * weight), np.float32)


def _spread(image: FloatArray, known: npt.NDArray[np.bool_]) -> FloatArray:
    """The surroundings flowing inwards: blurs of known pixels alone, each hole taking the finest that reaches it."""
    result = image * known[..., None]
    weight = known.astype(np.float32)
    levels = [(result, weight)]
    while min(levels[-1][1].shape) > 1 and bool((levels[-1][1] <= 0).any()):
        colours, shares = levels[-1]
        height, width = shares.shape
        size = ((width + 1) // 2, (height + 1) // 2)
        levels.append(
            (
                cv2.resize(colours, size, interpolation=cv2.INTER_AREA),
                cv2.resize(shares, size, interpolation=cv2.INTER_AREA),
            )
        )
    colours, shares = levels[-1]
    mean = colours.sum((0, 1)) / max(float(shares.sum()), 1e-6)
    filled = np.where(shares[..., None] > 0, colours / np.maximum(shares, 1e-6)[..., None], mean)
    for colours, shares in reversed(levels[:-1]):
        height, width = shares.shape
        coarse = cv2.resize(filled, (width, height), interpolation=cv2.INTER_LINEAR)
        filled = coarse * (1 - shares[..., None]) + colours
    return np.asarray(np.clip(filled, 0, 1), np.float32)


def _nearest(image: FloatArray, hole: npt.NDArray[np.bool_]) -> FloatArray:
    """Each pixel of the hole takes the colour of the nearest pixel outside it."""
    _, labels = cv2.distanceTransformWithLabels(
        hole.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_5, labelType=cv2.DIST_LABEL_PIXEL
    )
    known = ~hole
    colour_of = np.zeros((int(labels.max()) + 1, 3), np.float32)
    colour_of[labels[known]] = image[known]
    return np.asarray(colour_of[labels], np.float32)


def _structure(image: FloatArray, hole: npt.NDArray[np.bool_]) -> FloatArray:
    """Edges continued into the hole (Telea 2004). Works in 8 bit: it is a start for the model, not a result."""
    samples = (image * 255).round().astype(np.uint8)
    filled = cv2.inpaint(samples, hole.astype(np.uint8), _TELEA_RADIUS, cv2.INPAINT_TELEA)
    return np.asarray(filled / np.float32(255), np.float32)
