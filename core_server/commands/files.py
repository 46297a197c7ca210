"""Picture files, read as straight-alpha pixels; `output_files` writes them.

OpenImageIO does the formats. What is ours: the meaning of the numbers (colour space, straight or associated alpha, EXIF
orientation) and a refusal of what cannot be painted on.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import OpenImageIO as oiio  # noqa: N813 - as its own documentation calls it

from core_server.commands import png
from core_server.commands.errors import CommandError
from core_server.commands.samples import grey, straight, upright
from scumble.client import ColorSpace, Pixels

_PROFILE_KINDS = {1: b"GRAY", 3: b"RGB ", 4: b"RGB "}


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """A picture and the file it came from.

    pixels: upright, straight alpha, 1, 3 or 4 channels. stored: the file's own samples, upright, shape (height, width,
    file's channels). associated: stored colours are multiplied by alpha. spec: the file's OpenImageIO.ImageSpec.
    """

    path: Path
    pixels: Pixels
    stored: npt.NDArray[Any]
    associated: bool
    spec: Any


def read_picture(path: Path) -> Picture:
    """Reads a picture.

    Errors: CommandError for files that are missing, damaged or of a kind that cannot be painted on.
    """
    spec, stored = _read(path)
    channels = stored.shape[2]
    if channels not in (1, 2, 3, 4) or (channels in (2, 4) and spec.alpha_channel != channels - 1):
        names = ", ".join(spec.channelnames)
        raise CommandError(
            f"{path} has the channels {names}; what can be painted on is grey or RGB, with or without alpha. Convert "
            "it first."
        )
    profile = _profile(path, spec, channels)
    associated = channels in (2, 4) and spec.getattribute("oiio:UnassociatedAlpha") != 1
    values = straight(stored) if associated else stored
    if channels == 2:
        values = np.concatenate([np.repeat(values[..., :1], 3, axis=2), values[..., 1:]], 2)
    if profile:
        space = ColorSpace.ICC
    elif values.dtype.kind == "f" or str(spec.getattribute("oiio:ColorSpace")).startswith("lin"):
        space = ColorSpace.LINEAR_REC709
    else:
        space = ColorSpace.SRGB
    pixels = Pixels.from_numpy(np.ascontiguousarray(values), space, profile)
    return Picture(path, pixels, stored, associated, spec)


def read_mask(path: Path, width: int, height: int) -> npt.NDArray[Any]:
    """A mask file as shape (height, width), its own dtype, full scale = repaint.

    Its alpha where that is not opaque everywhere, else its grey values (Rec. 709 luma of a coloured file).
    Errors: CommandError for damaged files, another size, and masks that select nothing.
    """
    spec, stored = _read(path)
    found = (stored.shape[1], stored.shape[0])
    if found != (width, height):
        raise CommandError(
            f"The mask {path} is {found[0]} x {found[1]} px and the picture {width} x {height} px. Both must have the "
            "same size."
        )
    full = np.iinfo(stored.dtype).max if stored.dtype.kind == "u" else 1
    alpha = spec.alpha_channel
    if alpha >= 0 and stored[..., alpha].min() < full:
        mask = stored[..., alpha]
    else:
        mask = grey(stored[..., : 3 if stored.shape[2] - (alpha >= 0) >= 3 else 1])
    if not (mask > 0).any():
        raise CommandError(
            f"The mask {path} selects nothing. White means repaint, black means keep."
        )
    return np.ascontiguousarray(mask)


def _read(path: Path) -> tuple[Any, npt.NDArray[Any]]:
    """The file's spec and its samples as they are stored, upright."""
    if not path.is_file():
        raise CommandError(f"There is no file {path}.")
    with path.open("rb") as file:
        is_png = file.read(len(png.SIGNATURE)) == png.SIGNATURE
    if is_png:
        try:  # libpng would complain on stderr, in its own words
            for _ in png.chunks(path.read_bytes()):
                pass
        except png.DamagedPng as error:
            raise CommandError(f"{path} is damaged: {error}.") from error
    wishes = oiio.ImageSpec()
    wishes.attribute("oiio:UnassociatedAlpha", 1)
    source = oiio.ImageInput.open(str(path), wishes)
    if source is None:
        raise CommandError(
            f"{path} cannot be read as a picture: {said_by_library(oiio.geterror())}."
        )
    try:
        spec = oiio.ImageSpec(source.spec())
        inks = spec.getattribute("jpeg:ColorSpace") or spec.getattribute("tiff:ColorSpace") or ""
        if inks in ("CMYK", "YCCK"):
            raise CommandError(
                f"{path} is {inks}. Convert it to RGB first, with the profile you trust."
            )
        stored = source.read_image(oiio.UNKNOWN)
        problem = source.geterror()
        several = source.seek_subimage(1, 0)
        source.geterror()  # of a seek that found nothing, as it should
    finally:
        source.close()
    if stored is None or problem:
        raise CommandError(f"{path} is damaged: {said_by_library(problem)}.")
    if spec.deep or several:
        raise CommandError(
            f"{path} holds more than one picture, or a deep one. Export a single flat one."
        )
    if stored.dtype.name not in ("uint8", "uint16", "float16", "float32"):
        raise CommandError(
            f"{path} has {stored.dtype.name} samples; 8 or 16 bit, or 16 or 32 bit float, can be painted on."
        )
    turn = spec.getattribute("Orientation")
    return spec, np.ascontiguousarray(upright(stored, turn if isinstance(turn, int) else 1))


def _profile(path: Path, spec: Any, channels: int) -> bytes:
    """The ICC profile's bytes, b"" without one. A damaged one, or one for other channels, is refused."""
    found = spec.getattribute("ICCProfile")
    profile = b"" if found is None else bytes(found)
    # libpng leaves out what it cannot read, and colours would silently be others. Every profile has the signature.
    if png.has_profile(path) if found is None else profile[36:40] != b"acsp":
        raise CommandError(
            f"The ICC profile in {path} is damaged. Assign the right profile to the picture, or remove it, and try "
            "again."
        )
    if not profile:
        return b""
    kind = profile[16:20]
    if kind != _PROFILE_KINDS[1 if channels < 3 else 3]:
        raise CommandError(
            f"{path} has {'grey' if channels < 3 else 'RGB'} pixels and an ICC profile for "
            f"{kind.decode('latin-1').strip()}. Convert it to RGB first."
        )
    return profile if channels != 2 else b""


def said_by_library(error: str) -> str:
    """A library's message as the end of a sentence."""
    return " ".join(error.split()).rstrip(".") or "the library gave no reason"
