"""An IP-Adapter's weights, read for one model: what sees pictures, and the attention that is given them.

Source: see `pipelines.reference`. Stock attention processors of UNets and of FLUX.1.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from diffusers.models.embeddings import ImageProjection, MultiIPAdapterImageProjection
from PIL import Image
from safetensors.torch import load_file
from transformers import CLIPImageProcessorPil, CLIPVisionModelWithProjection

from core_server.canvas.colour import to_model_rgb, to_uint8
from core_server.canvas.pixels import Pixels
from core_server.errors import ModelLoadFailed, on_one_line
from core_server.pipelines.folder import check_part
from core_server.pipelines.hashes import Stamp, hashing, stamp_of
from core_server.pipelines.memory import Rung
from core_server.pipelines.model import LoadedModel
from core_server.pipelines.reference_files import ReferenceFile
from core_server.pipelines.sources.recognise import plain_name
from core_server.pipelines.sources.weights import read_header

Tensor = torch.Tensor
MAX_VIEWS = 16
"""Encoded pictures that are kept for the next job; a few kilobytes each, a megabyte at most."""


@dataclass(frozen=True, slots=True)
class View:
    """What the encoder sees in a picture, and what stands for no picture. On the CPU."""

    picture: Tensor
    nothing: Tensor


@dataclass(slots=True, eq=False)
class ReferenceKit:
    """One IP-Adapter read for one model. processors: by their place in the denoiser; None: the denoiser's own stays."""

    file: ReferenceFile
    stamp: Stamp
    """Of the files that it was read from; those that were replaced are read again."""
    sha256: Future[str]
    encoder_sha256: Future[str]
    projection: Any
    processors: Mapping[str, Any]
    _views: OrderedDict[bytes, View] = field(default_factory=OrderedDict)
    _encoder: Any = None
    """On the CPU between jobs: it is as large as a small model, and wanted for a moment only."""

    @classmethod
    def read(cls, file: ReferenceFile, denoiser: Any) -> ReferenceKit:
        """Errors: ModelLoadFailed for tensors that do not fit."""
        stamp, encoder = stamp_of(files_of(file)), hashing(files_of(file)[1:])
        sha256 = hashing([file.path])
        parts: dict[str, dict[str, Tensor]] = {"image_proj": {}, "ip_adapter": {}}
        for key, tensor in load_file(file.path).items():
            part, _, name = plain_name(key).partition(".")
            parts.setdefault(part, {})[name] = tensor
        try:
            # `load_ip_adapter` would also move and cast the whole denoiser, which undoes what saves memory.
            projection, made = cls.converted(parts, denoiser)
        except Exception as error:  # diffusers and torch raise whatever they like
            raise ModelLoadFailed(
                f"The IP-Adapter {file.name!r} does not fit this model: {on_one_line(error, 200)}"
            ) from error
        kept = {name: it if hasattr(it, "to_k_ip") else None for name, it in made.items()}
        return cls(file, stamp, sha256, encoder, projection, kept)

    @staticmethod
    def converted(parts: dict[str, dict[str, Tensor]], denoiser: Any) -> tuple[Any, dict[str, Any]]:
        """Projection and attention processors."""
        projection = denoiser._convert_ip_adapter_image_proj_to_diffusers(
            parts["image_proj"], low_cpu_mem_usage=True
        )
        made = denoiser._convert_ip_adapter_attn_to_diffusers([parts], low_cpu_mem_usage=True)
        return projection, made

    @staticmethod
    def encoder_class() -> Any:
        """Of its eyes."""
        return CLIPVisionModelWithProjection

    def _pixels(self, array: npt.NDArray[np.uint8], side: int) -> Tensor:
        prepare = CLIPImageProcessorPil(size=side, crop_size=side)
        values: Tensor = prepare(Image.fromarray(array), return_tensors="pt").pixel_values
        return values

    def given(self, views: Sequence[View], rows: int, device: torch.device) -> Any:
        """What a transformer takes at a call of so many rows."""
        return [it.picture.to(device) for it in views]

    def views(self, pictures: Sequence[Pixels], model: LoadedModel) -> tuple[View, ...]:
        """What the encoder sees in each; it comes to the device only for pictures that it has not seen lately.

        Errors: ModelLoadFailed.
        """
        arrays = [to_uint8(to_model_rgb(it)) for it in pictures]
        keys = [hashlib.blake2b(it.tobytes() + str(it.shape).encode()).digest() for it in arrays]
        new = {
            key: array for key, array in zip(keys, arrays, strict=True) if key not in self._views
        }
        if new:
            if self._encoder is None:
                self._encoder = _read_encoder(self.file, self.encoder_class(), model.dtype)
            size = int(self._encoder.config.image_size)
            self._encoder.to(model.device)
            try:
                for key, array in new.items():
                    values = self._pixels(array, size)
                    self._views[key] = self._view(values.to(model.device, model.dtype))
            finally:
                self._encoder.to("cpu")
        for key in keys:
            self._views.move_to_end(key)
        found = tuple(self._views[key] for key in keys)
        while len(self._views) > MAX_VIEWS:
            self._views.popitem(last=False)
        return found

    @torch.no_grad()
    def _view(self, values: Tensor) -> View:
        if isinstance(self.projection, ImageProjection):
            seen = self._encoder(values).image_embeds
            return View(seen[None].cpu(), torch.zeros_like(seen)[None].cpu())
        both = (values, torch.zeros_like(values))
        seen, nothing = (
            self._encoder(it, output_hidden_states=True).hidden_states[-2][None].cpu()
            for it in both
        )
        return View(seen, nothing)

    @contextmanager
    def worn(self, denoiser: Any, weights: Sequence[float], model: LoadedModel) -> Iterator[None]:
        """Within the context the denoiser looks at a picture for each weight; afterwards it is as before."""
        before = denoiser.attn_processors
        projection = getattr(denoiser, "encoder_hid_proj", None)
        kind = getattr(denoiser.config, "encoder_hid_dim_type", None)
        shown = MultiIPAdapterImageProjection([self.projection] * len(weights))
        with_pictures = {
            name: before[name] if it is None else _for_pictures(it, weights, model)
            for name, it in self.processors.items()
        }
        try:
            denoiser.set_attn_processor(with_pictures)
            denoiser.encoder_hid_proj = shown.to(model.device, model.dtype)
            denoiser.config.encoder_hid_dim_type = "ip_image_proj"
            yield
        finally:
            # First, because its attentions are none of the denoiser's.
            denoiser.encoder_hid_proj = projection
            denoiser.set_attn_processor(dict(before))
            denoiser.config.encoder_hid_dim_type = kind
            if model.rung not in (None, Rung.RESIDENT):
                shown.to("cpu")
                for it in self.processors.values():
                    if it is not None:
                        it.to("cpu")


def _for_pictures(processor: Any, weights: Sequence[float], model: LoadedModel) -> Any:
    """A processor for several pictures, which share the weights of the one it is made from."""
    count = len(weights)
    with torch.device("meta"):
        made = type(processor)(
            hidden_size=processor.hidden_size,
            cross_attention_dim=processor.cross_attention_dim,
            # FLUX.1's keeps no such numbers, and counts them alone.
            num_tokens=list(getattr(processor, "num_tokens", (0,))) * count,
            scale=list(weights),
        )
    made.to_k_ip = torch.nn.ModuleList([processor.to_k_ip[0]] * count)
    made.to_v_ip = torch.nn.ModuleList([processor.to_v_ip[0]] * count)
    return made.to(model.device, model.dtype).requires_grad_(False)


def files_of(file: ReferenceFile) -> list[Path]:
    """The adapter, then the encoder's."""
    assert file.encoder is not None
    return [file.path, *sorted(file.encoder.path.glob("*.safetensors"))]


def _read_encoder(file: ReferenceFile, kind: Any, dtype: torch.dtype) -> Any:
    assert file.encoder is not None
    folder = file.encoder.path
    check_part(folder)
    for path in sorted(folder.glob("*.safetensors")):
        read_header(path)
    try:
        network = kind.from_pretrained(
            folder, dtype=dtype, local_files_only=True, use_safetensors=True
        )
    except Exception as error:  # transformers raises whatever it likes
        raise ModelLoadFailed(
            f"The image encoder of {file.name!r} could not be loaded: {on_one_line(error, 200)}"
        ) from error
    return network.eval().requires_grad_(False)
