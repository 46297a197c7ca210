"""Project from view: paint what cameras see of an object, one after the other, and bake it into its texture."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .bake import Look, Subject, look_at
from .bleed import bleed, gutters
from .control import Control
from .errors import Refused
from .pictures import Picture, Source
from .raster import Floats
from .repaint import inpaint_of, to_pixels
from .request import DEFAULT_OPTIONS, Ask, Options
from .sheets import Sheets
from .solve import fit
from .texels import texels_seen
from .views import View

if TYPE_CHECKING:
    from scumble.client import Client, Patch

Texture = NDArray[np.float32]
"""texels x 3, 0..1 for bytes, else as stored; in the order of `Sheets`."""

_SAME = 0.1
"""Difference between what the model got and gave, 0..1, from which nothing of the old detail is kept."""
_SEEN = 0.02  # share of a texel's paint that is still missing below which a later camera leaves it alone
_MARGIN = 8  # px carried into the gutter
_NEW = 1e-4  # a smaller change than this is rounding
_ROUNDING = 0.5 / 255  # of a picture of bytes


@dataclass(frozen=True, slots=True)
class ProjectRequest:
    """Paint the subject's texture from `views`, each only where the earlier ones did not see it.

    sources: the image, or the UDIM tiles of it that the subject lies in.
    """

    prompt: str
    sources: tuple[Source, ...]
    subject: Subject
    views: tuple[View, ...]
    seed: int
    strength: float = 1.0
    control: str = "none"
    """How the shape is kept: none, depth, normal, both (refused where the model has no such network), or auto: what it
    has."""
    options: Options = DEFAULT_OPTIONS

    def paint(self, client: Client, ask: Ask) -> tuple[Picture, ...]:
        """One picture: the texture; of UDIM tiles those that changed. Raises Refused where no camera sees anything."""
        canvas = _Canvas(self.sources, self.subject)
        control = Control(self.control)
        patch: Patch | None = None
        for number, view in enumerate(self.views):
            share = (number, len(self.views))
            painted = self._from_view(client, ask, view, canvas, control, share=share)
            patch = painted or patch
        if patch is None:
            raise Refused(
                "The camera sees nothing of the object that is left to paint: move it, or look at another side."
            )
        recipe = {**patch.recipe, "notes": [*patch.recipe.get("notes", ()), *control.notes]}
        return canvas.pictures(seed=patch.seed, recipe=recipe)

    def _from_view(
        self,
        client: Client,
        ask: Ask,
        view: View,
        canvas: _Canvas,
        control: Control,
        *,
        share: tuple[int, int],
    ) -> Patch | None:
        """Paints one view into the canvas; None where it sees nothing that is left to paint."""
        look = look_at(view, self.subject, canvas.sheets)
        missing, inside = look.colors((1 - canvas.done)[:, None])
        left = inside & (missing[..., 0] > _SEEN)
        if not left.any():
            return None
        shown, _ = look.colors(canvas.texture)
        got, gave, patch = self._ask(
            client, ask, shown, left, look=look, control=control, share=share
        )
        texels = texels_seen(look, self.subject, canvas.sheets)
        old = canvas.texture[texels.place]
        sampled_got, sampled_gave = texels.sample(got), texels.sample(gave)
        # The view may be coarser than the texture: detail it could not show is kept where the model changed nothing.
        change = np.abs(sampled_gave - sampled_got).max(axis=1, keepdims=True)
        kept = 1 - np.clip(change / _SAME, 0, 1)
        wished = np.zeros((canvas.sheets.count, 4), np.float32)
        wished[:, :3] = canvas.texture
        wished[texels.place, :3] = sampled_gave + kept * (old - sampled_got)
        wished[texels.place, 3] = texels.amount
        free = np.zeros(canvas.sheets.count, bool)
        missing_there = 1 - canvas.done[texels.place]
        free[texels.place] = (texels.amount * missing_there > _SEEN) & ~texels.shared
        gutter = canvas.bleed(wished, free, 2)
        free |= gutter

        rounding = 0.0 if self.sources[0].is_float else _ROUNDING
        # What the picture lost of the old look by rounding is no error of the new one.
        ideal = gave + look.colors(canvas.texture)[0] - got
        fit(look.samples, ideal, wished[:, :3], free, rounding)
        canvas.put(np.union1d(texels.place, np.flatnonzero(gutter)), wished)
        return patch

    def _ask(
        self,
        client: Client,
        ask: Ask,
        colors: Floats,
        left: NDArray[np.bool_],
        *,
        look: Look,
        control: Control,
        share: tuple[int, int],
    ) -> tuple[Floats, Floats, Patch]:
        """What the model was shown and what it gave, both like `colors`, and the patch."""
        from scumble.client import CanvasOptions, paste

        space = self.sources[0].color_space
        if self.sources[0].is_float:
            document: NDArray[Any] = np.ascontiguousarray(colors[::-1], np.float32)
            whole = 1.0
        else:
            document = np.ascontiguousarray(np.rint(np.clip(colors[::-1], 0, 1) * 255), np.uint8)
            whole = 255.0
        mask = np.where(left[::-1], np.uint8(255), np.uint8(0))

        def one(images: Any) -> Patch:
            request = inpaint_of(
                client, document, mask, space, prompt=self.prompt, strength=self.strength,
                canvas=CanvasOptions(), seed=self.seed, options=self.options, control=images,
            )  # fmt: skip
            return ask(request, *share)[0]

        patch = control.steer(look, one)
        pasted = paste(to_pixels(document, space), patch).numpy()
        got, gave = document[::-1] / whole, pasted[::-1] / whole
        return np.asarray(got, np.float64), np.asarray(gave, np.float64), patch


class _Canvas:
    """The texture while it is painted. done: how much of each texel has been painted, 0..1."""

    def __init__(self, sources: tuple[Source, ...], subject: Subject) -> None:
        self.sheets = Sheets.of({s.tile: (s.width, s.height) for s in sources})
        self._sources = sources
        self._before = [source.to_wire() for source in sources]
        parts = [(b[::-1, :, :3] / _whole(b)).reshape(-1, 3) for b in self._before]
        self._original: Texture = np.concatenate(parts).astype(np.float32)
        self.texture = self._original.copy()
        self.done = np.zeros(self.sheets.count)
        self._islands = self.sheets.islands(subject.target_uv)

    def bleed(
        self, layer: NDArray[np.float32], painted: NDArray[np.bool_], margin: int
    ) -> NDArray[np.bool_]:
        """Carries what is new in `painted` texels of a layer into the gutter; returns where to. Where nothing changed
        the gutter stays, and so it does beside faces that stay."""
        new = painted & (np.abs(layer[:, :3] - self._original).max(axis=1) > _NEW)
        open_ = gutters(self._islands, painted | (self.done > 0), self.sheets)
        return bleed(layer, new, open_, self.sheets, margin)

    def put(self, place: NDArray[np.int64], layer: NDArray[np.float32]) -> None:
        """Paints the texels at `place` with a layer's colours by its fourth channel, as far as they miss paint: in the
        end a texel is the mean of what its views painted, and the original for what is missing to 1."""
        amount = layer[place, 3] * (1 - self.done[place])
        change = layer[place, :3] - self._original[place]
        self.texture[place] += (amount[:, None] * change).astype(np.float32)
        self.done[place] += amount

    def pictures(self, *, seed: int, recipe: dict[str, Any]) -> tuple[Picture, ...]:
        """The sources with what was painted; those that did not change are left out, but for a single one."""
        painted = self.done > 0
        touched = painted | self.bleed(self.texture, painted, _MARGIN)
        made = []
        for source, before, sheet in zip(
            self._sources, self._before, self.sheets.sheets, strict=True
        ):
            where = touched[sheet.places].reshape(sheet.height, sheet.width)[::-1, :, None]
            if not where.any() and len(self._sources) > 1:
                continue
            values = self.texture[sheet.places].reshape(sheet.height, sheet.width, 3)[::-1]
            values = values * np.float32(_whole(before))
            if before.dtype == np.uint8:
                values = np.rint(np.clip(values, 0, 255))
            after = before.copy()
            after[..., :3] = np.where(where, values, before[..., :3]).astype(before.dtype)
            made.append(source.to_picture(after, before, seed=seed, recipe=recipe))
        return tuple(made)


def _whole(array: NDArray[Any]) -> float:
    return 255.0 if array.dtype == np.uint8 else 1.0
