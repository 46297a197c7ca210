"""IP-Adapters in the data folder: `references/`, adapter files and image encoders. Free of torch.

An adapter is `references/NAME.safetensors` or `references/NAME/*.safetensors`. An image encoder is a folder with its
config.json: `references/NAME/image_encoder` beside its adapter, or any other folder there, which several may share.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from core_server.errors import InvalidRequest, ModelLoadFailed
from core_server.pipelines.families.family import Family, Looks
from core_server.pipelines.families.registry import FAMILIES
from core_server.pipelines.published import why_none_fits
from core_server.pipelines.sources.recognise import (
    FileKind,
    any_shape,
    plain_name,
    recognise,
)
from core_server.pipelines.sources.recommended import recommended
from core_server.pipelines.sources.weights import WeightsHeader, read_header, unusable_in

FOLDER = "references"
_FIELD = "parameters.reference_images"
_PLAIN, _PLUS, _FULL = "image_proj.proj.weight", "image_proj.latents", "image_proj.proj.3.weight"
"""The three projections that read CLIP's view of a picture; other IP-Adapters read faces with programs of their own."""


@dataclass(frozen=True, slots=True)
class Encoder:
    """A CLIP image encoder. summary, layers: numbers for a picture as a whole, and in each place of its layers."""

    path: Path
    summary: int
    layers: int


@dataclass(frozen=True, slots=True)
class ReferenceFile:
    """width: of the text embeddings beside which it acts, which tells the family. reads: numbers of the encoder's
    summary, or of its layers where reads_layers. encoder: the one for it, None if none is there."""

    name: str
    path: Path
    width: int
    reads: int
    reads_layers: bool
    encoder: Encoder | None = None


class ReferenceShelf:
    """The IP-Adapters of a data folder."""

    def __init__(self, data_dir: Path) -> None:
        self._folder = data_dir / FOLDER

    def all(self) -> tuple[ReferenceFile, ...]:
        """Every IP-Adapter that can be read, by name, each with its image encoder."""
        encoders = self._encoders()
        found = []
        for path in sorted(
            (*self._folder.glob("*.safetensors"), *self._folder.glob("*/*.safetensors"))
        ):
            if not path.is_file():  # a link to what is gone
                continue
            stat = path.stat()
            name = path.stem if path.parent == self._folder else path.parent.name
            file = _read(path, name, stat.st_size, stat.st_mtime_ns)
            if file is not None:
                found.append(dataclasses.replace(file, encoder=_fitting(file, encoders)))
        return tuple(found)

    def choose(self, width: int, of: Family) -> ReferenceFile:
        """The first by name that fits a denoiser reading text of that width, with its encoder. of: the model's family.
        Errors: InvalidRequest with how to install what is missing, or which model to take where nothing would fit."""
        family, title = of.adapters, of.title
        if of.looks is not Looks.ADAPTER:
            names = ", ".join(it.title for it in FAMILIES.values() if it.looks is not Looks.NONE)
            raise InvalidRequest(
                _FIELD,
                f"Reference images do not work with {title}; they work with {names}. Choose such a model, or describe "
                "the look in the prompt.",
            )
        fitting = [it for it in self.all() if it.width == width]
        chosen = next((it for it in fitting if it.encoder is not None), None)
        if chosen is not None:
            return chosen
        if fitting:
            raise InvalidRequest(
                _FIELD,
                f"The IP-Adapter {fitting[0].name!r} has no image encoder that fits it; put the folder with the "
                f"encoder's config.json and .safetensors into the data folder's `{FOLDER}`{_advice(family)}.",
            )
        raise InvalidRequest(
            _FIELD,
            why_none_fits("IP-Adapters", family, title, width)
            or f"No IP-Adapter is installed that fits {title}; put its .safetensors file and its image encoder's "
            f"folder into the data folder's `{FOLDER}`{_advice(family)}.{unusable_in(self._folder)}",
        )

    def _encoders(self) -> list[Encoder]:
        configs = (
            *self._folder.glob("*/config.json"),
            *self._folder.glob("*/image_encoder/config.json"),
        )
        return [it for it in map(_encoder, sorted(configs)) if it is not None]


def _advice(family: str) -> str:
    named = [it.id for it in recommended() if it.kind == "reference" and it.family == family]
    return f", or use `scumble models install {named[0]}`" if named else ""


@lru_cache(maxsize=64)
def _read(path: Path, name: str, _size: int, _changed: int) -> ReferenceFile | None:
    try:
        header = read_header(path)
    except ModelLoadFailed:
        return None
    if recognise(header).kind is not FileKind.IP_ADAPTER:
        return None
    reads, reads_layers = _reads(header)
    header = _plain(header)
    width = any_shape(header, "to_k_ip.weight")
    return ReferenceFile(name, path, width[-1], reads, reads_layers) if reads and width else None


def _plain(header: WeightsHeader) -> WeightsHeader:
    tensors = {plain_name(key): info for key, info in header.tensors.items()}
    return dataclasses.replace(header, tensors=tensors)


def _reads(header: WeightsHeader) -> tuple[int, bool]:
    """What of the encoder the projection reads; (0, False) for what does not read CLIP."""
    header = _plain(header)
    if header.shape(_PLAIN):
        return header.shape(_PLAIN)[-1], False
    if header.shape(_PLUS) and header.shape("image_proj.proj_in.weight"):
        return header.shape("image_proj.proj_in.weight")[-1], True
    if header.shape(_FULL):
        return header.shape("image_proj.proj.0.weight")[-1], True
    return 0, False


def require_readable(name: str, header: WeightsHeader) -> None:
    """Refuses an IP-Adapter that does not read CLIP's view of a picture. Errors: ModelLoadFailed."""
    if not _reads(header)[0]:
        raise ModelLoadFailed(
            f"{name} is an IP-Adapter that reads faces or the like with a program of its own, which is not part of "
            "this version; get a plain, Plus or Full one."
        )


def _encoder(config: Path) -> Encoder | None:
    try:
        told = json.loads(config.read_text(encoding="utf-8"))
        eyes = told.get("vision_config") or told  # a whole CLIP, or its vision part alone
        # SigLIP's has no summary.
        return Encoder(config.parent, int(told.get("projection_dim", 0)), int(eyes["hidden_size"]))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _fitting(file: ReferenceFile, encoders: list[Encoder]) -> Encoder | None:
    """One that gives as many numbers as the adapter reads; the one beside it first."""
    fits = [it for it in encoders if file.reads == (it.layers if file.reads_layers else it.summary)]
    beside = [it for it in fits if it.path.parent == file.path.parent]
    return next(iter((*beside, *fits)), None)
