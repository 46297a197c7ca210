"""A document as a model sees it, and the way back to the document's own numbers.

A model sees sRGB from 0 to 1. A document may have more: light above white, colours outside sRGB, tables in its profile
that are not each other's inverse, more pixels than the model. All of that comes back where the model kept the picture:
what is added to its result is what the document had beyond the rendition.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from core_server.canvas.colour import (
    colours_of,
    from_srgb,
    from_unit,
    linear_to_srgb,
    srgb_to_linear,
    to_srgb,
    to_unit,
)
from core_server.canvas.geometry import Bounds
from core_server.canvas.pixels import ColorSpace, Pixels
from core_server.canvas.tone import ToneCurve
from core_server.errors import InvalidRequest

FloatArray = npt.NDArray[np.float32]

KEPT_WITHIN = 0.1
"""Difference, sRGB 0..1, from which on a repainted colour is a new one that owes nothing to the document's."""
VISIBLE = 0.004
"""A code of 8 bit: what lies outside 0..1 by less is rounding and no colour beyond sRGB."""
_NEIGHBOURS = 5
"""Side in px of the neighbourhood whose mean difference counts as well, so that noise does not speckle the decision."""


@dataclass(frozen=True, slots=True, eq=False)
class Rendition:
    """document: the pixels, alpha and all. rgb: (height, width, 3) float32 sRGB 0..1, what a model is shown.

    tone: how light above white was brought below it; None where there is none. clipped: it has colours beyond sRGB.
    """

    document: Pixels
    rgb: FloatArray
    tone: ToneCurve | None
    clipped: bool = False

    @classmethod
    def of(cls, document: Pixels, hidden: npt.NDArray[np.bool_] | None = None) -> Rendition:
        """hidden: (height, width), what the model will not see; its brightness does not count.

        Errors: InvalidRequest for NaN or infinity, and for an ICC profile that cannot be used.
        """
        if document.array.dtype.kind == "f" and not np.isfinite(document.array).all():
            raise InvalidRequest(
                "image",
                "The image holds NaN or infinite values; every sample must be a finite number.",
                allowed="finite numbers",
            )
        srgb = to_srgb(document)
        tone = _tone_of(document, srgb, hidden)
        if tone is not None:
            srgb = linear_to_srgb(tone.compress(srgb_to_linear(srgb)))
        clipped = bool(srgb.min() < -VISIBLE or srgb.max() > 1 + VISIBLE)
        return cls(document, np.ascontiguousarray(np.clip(srgb, 0, 1), np.float32), tone, clipped)

    def cut(self, bounds: Bounds) -> Rendition:
        """A part of it; the tone curve stays that of the whole."""
        array = np.ascontiguousarray(self.document.array[bounds.slices])
        document = Pixels(array, self.document.color_space, self.document.icc_profile)
        rgb = np.ascontiguousarray(self.rgb[bounds.slices])
        return Rendition(document, rgb, self.tone, self.clipped)

    def notes(self) -> tuple[str, ...]:
        """For the recipe: what the model did not see as it is."""
        notes: list[str] = []
        if self.tone is not None:
            notes.append(
                f"light up to {self.tone.peak:.4g} was shown to the model through a tone curve and brought back"
            )
        if self.clipped and self.document.color_space is ColorSpace.NON_COLOR:
            notes.append("values outside 0..1 were shown to the model as 0 or 1")
        elif self.clipped:
            notes.append("colours beyond sRGB were shown to the model as the nearest in sRGB")
        return tuple(notes)

    def restore(
        self,
        painted: FloatArray,
        seen: FloatArray | None = None,
        shown: FloatArray | None = None,
    ) -> Pixels:
        """A model's picture in the document's sample type, channels, colour space and alpha.

        painted: (height, width, 3) float32 sRGB 0..1. seen: what `painted` would be had the model changed nothing
        (`rgb`, resampled to the model's size and back); None: `rgb` itself. shown: (height, width) 0..1, how much the
        model saw of the document and not of a fill; None: all. Where it saw all and changed nothing the document's
        samples come back bit for bit.
        """
        like = self.document
        painted = np.clip(painted, 0, 1)
        values = self._encode(painted)
        before = self.rgb if seen is None else np.clip(seen, 0, 1)
        if not self._is_exact(before):
            beyond = to_unit(colours_of(like)) - self._encode(before)
            values = values + _kept(painted, before, shown)[..., None] * beyond
        colour = from_unit(np.asarray(values, np.float32), like.array.dtype)
        same = (painted == before).all(axis=2)
        if shown is not None:
            same &= shown >= 1
        colour = np.where(same[..., None], colours_of(like), colour)
        if like.channels == 4:
            colour = np.concatenate([colour, like.array[..., 3:]], axis=2)
        return Pixels(np.ascontiguousarray(colour), like.color_space, like.icc_profile)

    def _encode(self, srgb: FloatArray) -> npt.NDArray[Any]:
        if self.tone is None:
            return from_srgb(srgb, self.document)
        light = self.tone.expand(srgb_to_linear(srgb))
        if self.document.color_space is ColorSpace.LINEAR_REC709 and self.document.channels != 1:
            return light  # the detour over sRGB would cost bright light its last digits
        return from_srgb(linear_to_srgb(light), self.document)

    def _is_exact(self, before: FloatArray) -> bool:
        """Whether `before` holds all there is in the document, so that nothing has to be added to a result."""
        plain = self.document.color_space in (ColorSpace.SRGB, ColorSpace.NON_COLOR)
        if not plain or self.document.channels == 1 or self.document.array.dtype.kind != "u":
            return False
        return before is self.rgb or np.array_equal(before, self.rgb)


def _tone_of(
    document: Pixels, srgb: FloatArray, hidden: npt.NDArray[np.bool_] | None
) -> ToneCurve | None:
    if document.array.dtype.kind != "f" or document.color_space is ColorSpace.NON_COLOR:
        return None
    brightness = srgb.max(axis=2)
    if hidden is not None and not hidden.all():
        brightness = brightness[~hidden]
    peak = float(brightness.max())
    return ToneCurve.for_peak(float(srgb_to_linear(peak))) if peak > 1 else None


def _kept(painted: FloatArray, before: FloatArray, shown: FloatArray | None) -> FloatArray:
    """(height, width) 0..1: 1 where the model changed nothing, 0 from KEPT_WITHIN on."""
    change = np.abs(painted - before).max(axis=2)
    change = np.maximum(change, cv2.blur(change, (_NEIGHBOURS, _NEIGHBOURS)))
    t = np.clip(1 - change / np.float32(KEPT_WITHIN), 0, 1)
    kept = t * t * (3 - 2 * t)
    return np.asarray(kept if shown is None else kept * shown, np.float32)
