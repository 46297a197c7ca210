"""Picture files, written with the size, depth, alpha, profile and metadata of the picture they were made from.

What a kind of file cannot hold is refused before anything is painted.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import OpenImageIO as oiio  # noqa: N813 - as its own documentation calls it

from core_server.commands import png
from core_server.commands.errors import CommandError
from core_server.commands.files import Picture, said_by_library
from core_server.commands.samples import associated_alpha, grey
from scumble.client import ColorSpace, Pixels, SampleType

INTEGERS = (SampleType.U8, SampleType.U16)
FLOATS = (SampleType.F16, SampleType.F32)

HOLDS: dict[str, tuple[tuple[SampleType, ...], tuple[int, ...]]] = {
    ".png": (INTEGERS, (1, 3, 4)),
    ".tif": ((*INTEGERS, *FLOATS), (1, 3, 4)),
    ".tiff": ((*INTEGERS, *FLOATS), (1, 3, 4)),
    ".webp": ((SampleType.U8,), (3, 4)),
    ".jpg": ((SampleType.U8,), (1, 3)),
    ".jpeg": ((SampleType.U8,), (1, 3)),
    ".exr": (FLOATS, (1, 3, 4)),
}
"""Sample types and channels that each kind of file can hold."""

_OIIO_TYPES = {
    SampleType.U8: "uint8",
    SampleType.U16: "uint16",
    SampleType.F16: "half",
    SampleType.F32: "float",
}
_FORGET = (
    "scumble",
    "parameters",
    "Orientation",
    "compression",
    "jpeg:subsampling",
    "oiio:BitsPerSample",
    "oiio:UnassociatedAlpha",
    "tiff:Compression",
    "tiff:PhotometricInterpretation",
)
"""Attributes of the input that do not hold for the output, or are set anew."""

_COMPRESSION = {
    ".tif": "zip",
    ".tiff": "zip",
    ".webp": "lossless:100",
    ".jpg": "jpeg:95",
    ".jpeg": "jpeg:95",
    ".exr": "zip",
}


def check_output(path: Path, like: Pixels | None = None) -> None:
    """Refuses, before anything is painted, a file that could not be written.

    like: the picture the result will resemble; None for a new one, which has 8-bit RGB.
    Errors: CommandError.
    """
    if path.suffix.lower() not in HOLDS:
        raise CommandError(
            f"{path} has no known ending. Pictures are written as {' '.join(sorted(HOLDS))}."
        )
    if path.is_dir() or not path.absolute().parent.is_dir():
        raise CommandError(
            f"{path} cannot be written: its folder must exist and it must be no folder."
        )
    sample_type = like.sample_type if like else SampleType.U8
    channels = like.channels if like else 3
    types, channel_counts = HOLDS[path.suffix.lower()]
    if sample_type in types and channels in channel_counts:
        return
    *able, last = [ending for ending, (t, c) in HOLDS.items() if sample_type in t and channels in c]
    kind = {1: "grey", 3: "RGB", 4: "RGBA"}[channels]
    choice = f"{', '.join(able)} or {last}" if able else last
    raise CommandError(
        f"A {path.suffix.lower()} file cannot hold this picture ({kind}, {sample_type}). Choose {choice}."
    )


def write_picture(
    path: Path,
    pixels: Pixels,
    like: Picture | None = None,
    entries: Mapping[str, str] | None = None,
) -> None:
    """Writes a picture; a file that is there is replaced only once the new one is whole.

    like: the picture it was made from: its depth, alpha, ICC profile and metadata are kept, and its own samples
    wherever the pixels did not change. entries: texts for a PNG, by key; other kinds of files do not carry them.
    Errors: CommandError.
    """
    check_output(path, pixels)
    ending = path.suffix.lower()
    samples = pixels.numpy()
    associated = ending == ".exr" or (
        ending in (".tif", ".tiff") and like is not None and like.associated
    )
    if (
        like is not None
        and like.stored.shape[2] == 2
        and ending in (".png", ".tif", ".tiff", ".exr")
    ):
        samples = np.concatenate([grey(samples[..., :3])[..., None], samples[..., 3:]], axis=2)
    if associated and samples.shape[2] in (2, 4):
        samples = associated_alpha(samples)
        if like is not None and like.associated and like.stored.shape == samples.shape:
            # Dividing by alpha and multiplying again is not exact; what nobody painted on stays as it was.
            untouched = (pixels.numpy() == like.pixels.numpy()).all(axis=2)
            samples[untouched] = like.stored[untouched]
    spec = _output_spec(ending, samples, pixels, like, associated)
    handle, name = tempfile.mkstemp(suffix=ending, prefix=".scumble-", dir=path.absolute().parent)
    os.close(handle)
    draft = Path(name)
    try:
        if ending == ".webp" and samples.shape[2] == 4:
            _write_exact_webp(draft, samples, pixels.icc_profile)
        else:
            output: Any = oiio.ImageOutput.create(name)
            written = output.open(name, spec) and output.write_image(np.ascontiguousarray(samples))
            if not (output.close() and written):
                raise CommandError(
                    f"{path} cannot be written: {said_by_library(output.geterror())}."
                )
        if ending == ".png" and entries:
            draft.write_bytes(png.with_texts(draft.read_bytes(), entries))
        draft.chmod(0o666 & ~_umask())
        draft.replace(path)
    except OSError as error:
        raise CommandError(f"{path} cannot be written: {error.strerror}.") from error
    finally:
        draft.unlink(missing_ok=True)


def _output_spec(
    ending: str, samples: npt.NDArray[Any], pixels: Pixels, like: Picture | None, associated: bool
) -> Any:
    height, width, channels = samples.shape
    if (
        like is not None
        and like.spec.width == width
        and like.spec.height == height
        and ending == ".exr"
    ):
        spec = oiio.ImageSpec(like.spec)  # with its display window
    elif like is not None:
        spec = oiio.ImageSpec(like.spec)
        spec.x = spec.y = spec.full_x = spec.full_y = 0
        spec.width, spec.height, spec.full_width, spec.full_height = width, height, width, height
    else:
        spec = oiio.ImageSpec(width, height, channels, _OIIO_TYPES[pixels.sample_type])
    spec.set_format(_OIIO_TYPES[pixels.sample_type])
    spec.nchannels = channels
    spec.channelformats = ()
    spec.channelnames = {1: ("Y",), 2: ("Y", "A"), 3: ("R", "G", "B"), 4: ("R", "G", "B", "A")}[
        channels
    ]
    spec.alpha_channel = channels - 1 if channels in (2, 4) else -1
    spec.tile_width = spec.tile_height = spec.tile_depth = 0
    for name in _FORGET:
        spec.erase_attribute(name)
    if not associated:
        spec.attribute("oiio:UnassociatedAlpha", 1)
    if ending in _COMPRESSION:
        spec.attribute("compression", _COMPRESSION[ending])
    if ending in (".jpg", ".jpeg"):
        spec.attribute("jpeg:subsampling", "4:4:4")
    if pixels.color_space is ColorSpace.NON_COLOR:
        spec.attribute(
            "oiio:ColorSpace", "data"
        )  # or a reader bends normals and heights by a gamma
    if pixels.color_space is ColorSpace.ICC:
        profile = np.frombuffer(pixels.icc_profile, np.uint8)
        spec.attribute("ICCProfile", oiio.TypeDesc(f"uint8[{len(profile)}]"), profile)
    return spec


def _write_exact_webp(path: Path, samples: npt.NDArray[Any], profile: bytes) -> None:
    """Lossless also below alpha 0, which libwebp otherwise clears and OpenImageIO has no switch for."""
    from PIL import Image  # noqa: PLC0415

    image = Image.fromarray(samples)
    image.save(path, "WEBP", lossless=True, exact=True, icc_profile=profile)


def _umask() -> int:
    """The mask for new files; mkstemp ignores it."""
    mask = os.umask(0)
    os.umask(mask)
    return mask
