"""TIFF files as Photoshop writes and reads them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import numpy as np
import tifffile

from tests.fakes.photoshop.objects import Enum, Fault
from tests.fakes.photoshop.samples import full_scale, quantise

if TYPE_CHECKING:
    from tests.fakes.photoshop.application import Application
    from tests.fakes.photoshop.document import Document


def native_path(application: Application, path: str) -> Path:
    """File decodes %xx in its names (JavaScript Tools Guide, URI notation). Drives are folders of this computer."""
    drive = application.drives.get(path[:2])
    return Path(unquote(path)) if drive is None else drive / unquote(path[2:].lstrip("/"))


def save_tiff(document: Document, path: str, options: dict[str, Any]) -> None:
    """A flat TIFF: RGB, transparency if there is any, then the alpha channels, in their order. 16 bit spans 0..65535.

    Whether transparency is written premultiplied is our reading, so there is a switch.
    """
    wanted = {
        "kind": "TiffSaveOptions",
        "alphaChannels": True,
        "embedColorProfile": True,
        "imageCompression": Enum("TIFFEncoding.NONE"),
        "interleaveChannels": True,
        "layers": False,
        "transparency": True,
    }
    wrong = {
        name: options.get(name) for name, value in wanted.items() if options.get(name) != value
    }
    if wrong:
        raise Fault(f"this model does not save with {wrong}")
    if document.mode != Enum("DocumentMode.RGB"):
        raise Fault(f"this model saves no {document.mode.name} TIFF")
    if (
        document.application.disk_is_full
    ):  # our reading: an error, and what was written so far stays
        native_path(document.application, path).write_bytes(b"II*\0")
        raise Fault("Could not save the document because the disk is full.")
    pixels, extra = document.flatten(), []
    if not document.stack[-1].isBackgroundLayer:
        extra.append(document.application.tiff_transparency)
        if extra == ["assocalpha"]:
            alpha = pixels[..., 3:].astype(np.float64) / full_scale(pixels)
            pixels = np.dstack([quantise(pixels[..., :3] * alpha, pixels.dtype), pixels[..., 3]])
    else:
        pixels = pixels[..., :3]
    extra += ["unspecified"] * len(document.alphas)
    planes = [pixels, *(channel._state.samples for channel in document.alphas)]
    tifffile.imwrite(
        native_path(document.application, path),
        np.dstack(planes),
        byteorder=">" if options["byteOrder"] == Enum("ByteOrder.MACOS") else "<",
        photometric="rgb",
        planarconfig="contig",
        extrasamples=extra,
        resolution=(document.resolution, document.resolution),
        resolutionunit="inch",
        iccprofile=document.icc_profile or None,
        metadata=None,
    )


def open_tiff(application: Application, path: str) -> Document:
    """RGB becomes the Background; extra channels of unspecified meaning become alpha channels (TIFF 6.0)."""
    from tests.fakes.photoshop.document import Document  # noqa: PLC0415 - documents save through this module

    with tifffile.TiffFile(native_path(application, path)) as file:
        page = file.pages.first
        samples = page.asarray()
        extra = [int(kind) for kind in page.extrasamples]
        numerator, denominator = page.tags["XResolution"].value
        icc = bytes(page.tags[34675].value) if 34675 in page.tags else b""
    if any(extra):
        raise Fault("this model opens no transparent TIFF")
    return Document(
        application,
        samples[..., :3],
        name=native_path(application, path).name,
        resolution=numerator / denominator,
        icc_profile=icc,
        profile_name="embedded" if icc else "",
        alphas=tuple(
            (f"Alpha {index + 1}", samples[..., 3 + index]) for index in range(len(extra))
        ),
    )
