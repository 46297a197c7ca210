"""`PhotoshopHost` over a PSD file: a selection is a saved one (an alpha channel), a result is a layer with its mask."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from photoshop_plugin.document import (
    ON_TOP,
    Arrangement,
    Capture,
    Document,
    LayerPatch,
    PlacedLayer,
    Source,
)
from photoshop_plugin.errors import DocumentRefused, NotInstalled
from photoshop_plugin.files.limits import no_growth, no_patterns, not_srgb, require_possible
from photoshop_plugin.host.tiff import convert_samples
from photoshop_plugin.settings import Settings
from photoshop_plugin.transparency import bounding_box
from scumble.client import Bounds, ColorSpace, Extent, Pixels

Array = npt.NDArray[Any]

_DTYPES: dict[int, np.dtype[Any]] = {8: np.dtype(np.uint8), 16: np.dtype(np.uint16)}
_MODES = {"LABCOLOR": "LAB", "INDEXED": "INDEXEDCOLOR"}
"""psd-tools' names that are not Photoshop's."""
_SRGB_NAME = b"sRGB IEC61966-2.1"
_FIXED_POINT = 65536
"""Resolutions are 16.16 fixed point (Photoshop file format, resource 1005)."""


class PsdFile:
    """One file, read when it is made and written by `apply`. Implements `PhotoshopHost`.

    output: where results go; path itself is never written. selection: name of the alpha channel to take as the
    selection; "" takes the last one, if there is any. Raises DocumentRefused for a file that is none.
    """

    def __init__(self, path: Path, output: Path, *, selection: str = "") -> None:
        try:
            from psd_tools import PSDImage  # noqa: PLC0415 - only this needs it
        except ImportError as error:
            raise NotInstalled from error
        self._path, self._output = path, output
        if not path.is_file():
            raise DocumentRefused("psd", f"There is no file {path}.")
        try:
            self._psd = PSDImage.open(path)
        except Exception as error:  # psd-tools raises what its parsers raise
            why = str(error).rstrip(".") or type(error).__name__
            raise DocumentRefused("psd", f"{path.name} cannot be read as a PSD: {why}.") from error
        self._selection = self._find_selection(selection)

    def require_possible(self, settings: Settings) -> None:
        """Raises DocumentRefused for what files cannot take."""
        require_possible(self.describe(), settings, is_srgb=self._is_srgb())

    def describe(self) -> Document:
        """See PhotoshopHost."""
        psd, mode = self._psd, str(self._psd.color_mode.name)
        return Document(
            id=1,
            name=self._path.name,
            extent=Extent(psd.width, psd.height),
            resolution=self._resolution(),
            mode=_MODES.get(mode, mode),
            bits=int(psd.depth),
            profile="sRGB IEC61966-2.1" if _SRGB_NAME in self._profile() else "",
            quick_mask=False,
            selection=None if self._selection is None else bounding_box(self._selection),
        )

    def documents(self) -> list[Document]:
        """See PhotoshopHost."""
        return [self.describe()]

    def unmasked(self, document: Document) -> Document:
        """See PhotoshopHost. Files are in no mode."""
        return document

    def capture(
        self, document: Document, bounds: Bounds, source: Source = Source.MERGED
    ) -> Capture:
        """See PhotoshopHost. What is visible is what the file's own merged picture shows."""
        if document.mode != "RGB" or document.bits not in _DTYPES:
            raise DocumentRefused(
                "psd_mode",
                f"{document.name!r} is {document.mode} with {document.bits} bits; files are read in RGB with 8 or 16 "
                "bits. Open it in Photoshop instead, where it is converted on the way.",
            )
        if source is not Source.MERGED:
            raise DocumentRefused(
                "psd_source", "A file has no active layer; leave the source at merged."
            )
        color = np.asarray(self._psd.numpy("color"))
        shape = np.asarray(self._psd.numpy("shape"))
        if (shape < 1).any():
            color = np.dstack([color, shape])
        rows, columns = slice(bounds.y, bounds.bottom), slice(bounds.x, bounds.right)
        dtype = _DTYPES[document.bits]
        image = convert_samples(np.ascontiguousarray(color[rows, columns]), dtype)
        chosen = np.ones(image.shape[:2], np.float32)
        if self._selection is not None:
            chosen = self._selection[rows, columns]
        icc = self._profile()
        tagged = not self._is_srgb()
        return Capture(
            Pixels.from_numpy(
                image, ColorSpace.ICC if tagged else ColorSpace.SRGB, icc if tagged else b""
            ),
            Pixels.from_numpy(convert_samples(chosen, dtype), ColorSpace.NON_COLOR),
            icc,
        )

    def look(self, document: Document) -> str | None:
        """See PhotoshopHost. What was read stays as it is."""
        return ""

    def apply(
        self,
        document: Document,
        patches: Sequence[LayerPatch],
        title: str,
        arrangement: Arrangement = ON_TOP,
    ) -> list[PlacedLayer]:
        """See PhotoshopHost. Writes the output; a history is nothing that files have."""
        if any(arrangement.grow):
            raise no_growth()
        placed = []
        for index in reversed(range(len(patches))):
            patch = patches[index]
            if not patch.icc_profile and not self._is_srgb():
                raise not_srgb(document.name)
            layer = self._add(patch, _DTYPES[document.bits])
            layer.visible = index == 0
            placed.append((layer, patch))
        if len(patches) > 1:
            self._psd.create_group([layer for layer, _ in placed]).name = arrangement.group
        self._write(self._output)
        return [
            PlacedLayer(number, patch.name, patch.bounds)
            for number, (_, patch) in enumerate(reversed(placed), 1)
        ]

    def open_picture(
        self, pixels: Pixels, name: str, resolution: float, icc_profile: bytes
    ) -> None:
        """See PhotoshopHost. Writes a flat PSD in place of the output."""
        from psd_tools import PSDImage  # noqa: PLC0415
        from psd_tools.constants import Resource  # noqa: PLC0415
        from psd_tools.psd.image_resources import ImageResource  # noqa: PLC0415

        bits = 8 if pixels.sample_type.size == 1 else 16
        psd = PSDImage.new("RGB", pixels.extent, depth=bits)
        layer = psd.create_pixel_layer_from_array(convert_samples(pixels.numpy(), _DTYPES[bits]))
        layer.name = name
        if icc_profile:
            psd.image_resources[Resource.ICC_PROFILE] = ImageResource(
                key=Resource.ICC_PROFILE, data=icc_profile
            )
        known = self._psd.image_resources.get(Resource.RESOLUTION_INFO)
        if known is not None:
            psd.image_resources[Resource.RESOLUTION_INFO] = known
        self._psd = psd
        self._write(self._output)

    def define_pattern(self, pixels: Pixels, name: str) -> None:
        """See PhotoshopHost. Files have none."""
        raise no_patterns()

    def _add(self, patch: LayerPatch, dtype: np.dtype[Any]) -> Any:
        """A layer on top, opaque beneath its mask; the patch's own alpha goes into the mask, as in Photoshop."""
        samples, bounds = convert_samples(patch.pixels.numpy(), dtype), patch.bounds
        if samples.shape[2] == 1:
            samples = np.repeat(samples, 3, axis=2)
        mask = None
        if patch.mask is not None:
            mask = patch.mask.numpy()[..., 0] / patch.mask.sample_type.full_scale
        if samples.shape[2] == 4:
            alpha = samples[..., 3] / np.iinfo(dtype).max
            mask = alpha if mask is None else mask * alpha
            samples = samples[..., :3]
        layer = self._psd.create_pixel_layer_from_array(
            np.ascontiguousarray(samples), top=bounds.y, left=bounds.x
        )
        layer.name = patch.name  # the setter writes the Unicode name too
        if mask is not None:
            layer.create_mask(
                Image.fromarray(convert_samples(mask, np.uint8)), top=bounds.y, left=bounds.x
            )
        return layer

    def _write(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        new = path.with_name(f"{path.name}.part")
        try:
            self._psd.save(new)
            new.replace(path)
        except OSError as error:
            raise DocumentRefused("psd_write", f"{path} cannot be written: {error}.") from error
        finally:
            new.unlink(missing_ok=True)

    def _find_selection(self, name: str) -> Array | None:
        """(height, width) float 0..1."""
        names = self._channel_names()
        if name and name not in names:
            known = ", ".join(repr(it) for it in names) or "none"
            raise DocumentRefused(
                "psd_channel",
                f"{self._path.name} has no alpha channel {name!r}; there are: {known}. Save a selection with Select > "
                "Save Selection.",
            )
        if not names:
            return None
        planes = np.asarray(self._psd.numpy())
        index = names.index(name) if name else len(names) - 1
        plane: Array = planes[..., planes.shape[2] - len(names) + index]
        return plane if plane.any() else None

    def _channel_names(self) -> list[str]:
        """Of the alpha channels, the merged picture's own transparency apart, which has no name of the artist's."""
        from psd_tools.constants import ColorMode, Resource  # noqa: PLC0415

        psd = self._psd
        if psd.color_mode is not ColorMode.RGB:
            return []
        count = int(psd.channels) - 3
        if (np.asarray(psd.numpy("shape")) < 1).any():
            count -= 1
        names = [
            str(it).rstrip("\0")
            for it in psd.image_resources.get_data(Resource.ALPHA_NAMES_UNICODE) or []
        ]
        names = names[-count:] if count > 0 else []
        return [f"Alpha {k + 1}" for k in range(count - len(names))] + names

    def _is_srgb(self) -> bool:
        profile = self._profile()
        return not profile or _SRGB_NAME in profile

    def _profile(self) -> bytes:
        from psd_tools.constants import Resource  # noqa: PLC0415

        return bytes(self._psd.image_resources.get_data(Resource.ICC_PROFILE) or b"")

    def _resolution(self) -> float:
        from psd_tools.constants import Resource  # noqa: PLC0415

        info = self._psd.image_resources.get_data(Resource.RESOLUTION_INFO)
        return float(info.horizontal) / _FIXED_POINT if info is not None else 72.0
