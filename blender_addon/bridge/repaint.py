"""Repaints images that are there: a whole one (image-to-image) or what is marked in it (inpaint), tile by tile.

Everything about context, sizes and edges is planned by the server; here rectangles are cut and pasted.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .errors import Refused
from .masks import AlphaMask, Mask, MaskSource
from .pictures import Picture, Source
from .request import DEFAULT_OPTIONS, Ask, Options

if TYPE_CHECKING:
    from scumble.client import Bounds, Client, ControlImage, Inpaint, Patch, Pixels

_OPAQUE = 255


@dataclass(frozen=True, slots=True)
class RepaintRequest:
    """Repaint `sources` (the tiles of one image, or the one image itself) where `marked` says, or all of it."""

    prompt: str
    sources: tuple[Source, ...]
    seed: int
    marked: MaskSource | None = None
    strength: float = 0.6
    """Denoising strength, above 0 and at most 1."""
    seamless: str = "none"
    exact: bool = True
    """The mask is cut out exactly; else the server softens its edges, a little beyond it."""
    options: Options = DEFAULT_OPTIONS

    def paint(self, client: Client, ask: Ask) -> tuple[Picture, ...]:
        """Raises Refused where nothing is marked."""
        work: list[tuple[Source, NDArray[Any], Mask | None]] = []
        for source in self.sources:
            before = source.to_wire()
            mask = None if self.marked is None else self._mask(source, before)
            if mask is None or mask.any():
                work.append((source, before, mask))
        if not work:
            raise Refused(
                "Nothing to repaint: the mask is empty. Select faces, paint the mask, or choose Whole Image."
            )
        pictures: list[Picture] = []
        for part, (source, before, mask) in enumerate(work):
            request_of = self._inpaint if mask is not None else self._whole
            for patch, after in request_of(
                client, ask, source, before, mask, share=(part, len(work))
            ):
                pictures.append(
                    source.to_picture(after, before, seed=patch.seed, recipe=patch.recipe)
                )
        return tuple(pictures)

    def _mask(self, source: Source, before: NDArray[Any]) -> Mask:
        assert self.marked is not None
        alpha = before[..., 3]
        if alpha.dtype != np.uint8:
            alpha = np.rint(np.clip(alpha, 0, 1) * _OPAQUE).astype(np.uint8)
        return self.marked.mask(source.width, source.height, alpha, source.tile, self.seamless)

    def _whole(
        self,
        client: Client,
        ask: Ask,
        source: Source,
        before: NDArray[Any],
        mask: Mask | None,
        *,
        share: tuple[int, int],
    ) -> list[tuple[Patch, NDArray[Any]]]:
        from scumble.client import ImageToImage, SeamlessAxes

        request = ImageToImage(
            prompt=self.prompt,
            image=to_pixels(painted_channels(before), source.color_space),
            strength=self.strength,
            seed=self.seed,
            seamless=SeamlessAxes(self.seamless),
            **self.options.to_client(),
        )
        return [
            (patch, _merged(before, patch.pixels.numpy(), None)) for patch in ask(request, *share)
        ]

    def _inpaint(
        self,
        client: Client,
        ask: Ask,
        source: Source,
        before: NDArray[Any],
        mask: Mask | None,
        *,
        share: tuple[int, int],
    ) -> list[tuple[Patch, NDArray[Any]]]:
        from scumble.client import CanvasOptions, SeamlessAxes, paste

        assert mask is not None
        erased = isinstance(self.marked, AlphaMask)
        document = before[..., :3] if erased else painted_channels(before)
        document = np.ascontiguousarray(document)
        options = CanvasOptions(exact_selection=self.exact, seamless=SeamlessAxes(self.seamless))
        request = inpaint_of(
            client, document, mask, source.color_space, prompt=self.prompt, strength=self.strength,
            canvas=options, seed=self.seed, options=self.options,
        )  # fmt: skip
        found = []
        for patch in ask(request, *share):
            pasted = paste(to_pixels(document, source.color_space), patch).numpy()
            opaque = mask > 0 if erased else None
            found.append((patch, _merged(before, pasted, opaque)))
        return found


def inpaint_of(
    client: Client,
    document: NDArray[Any],
    mask: Mask,
    color_space: str,
    *,
    prompt: str,
    strength: float,
    canvas: Any,
    seed: int,
    options: Options,
    control: tuple[ControlImage, ...] = (),
) -> Inpaint:
    """Repaints `mask` in `document` (both of one height and width): only the planned context is sent."""
    from scumble.client import Bounds, Extent, Inpaint, Pixels

    height, width = mask.shape
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    selection = Bounds(
        int(columns[0]),
        int(rows[0]),
        int(columns[-1] - columns[0] + 1),
        int(rows[-1] - rows[0] + 1),
    )
    plan = client.plan(
        Extent(width, height), selection, model=options.model, strength=strength, options=canvas
    )
    cut = cut_out(mask, plan.context)
    return Inpaint(
        prompt=prompt,
        image=to_pixels(cut_out(document, plan.context), color_space),
        selection=Pixels.mask(cut.data, plan.context.width, plan.context.height),
        strength=strength,
        plan=plan,
        seed=seed,
        seamless=canvas.seamless,
        control_images=control,
        **options.to_client(),
    )


def cut_out(array: NDArray[Any], bounds: Bounds) -> NDArray[Any]:
    """A rectangle of height x width [x channels]; where it leaves the array it goes on at the other side."""
    height, width = array.shape[:2]
    rows = np.arange(bounds.y, bounds.bottom) % height
    columns = np.arange(bounds.x, bounds.right) % width
    return np.ascontiguousarray(array[rows][:, columns])


def to_pixels(array: NDArray[Any], color_space: str) -> Pixels:
    from scumble.client import ColorSpace, Pixels

    return Pixels.from_numpy(array, ColorSpace(color_space))


def painted_channels(array: NDArray[Any]) -> NDArray[Any]:
    """Without an alpha that says nothing."""
    full = _OPAQUE if array.dtype == np.uint8 else 1
    return np.ascontiguousarray(array[..., :3]) if (array[..., 3] == full).all() else array


def _merged(
    before: NDArray[Any], after: NDArray[Any], opaque: NDArray[np.bool_] | None
) -> NDArray[Any]:
    """Four channels again; alpha as it was, but full where `opaque`."""
    merged = before.copy()
    merged[..., : after.shape[2]] = after
    if opaque is not None:
        merged[opaque, 3] = _OPAQUE if before.dtype == np.uint8 else 1
    return merged
