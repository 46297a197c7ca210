"""The IP-Adapter of Stable Diffusion 3: it reads SigLIP's view of one picture, and another way at each step.

Source: https://huggingface.co/InstantX/SD3.5-Large-IP-Adapter, with diffusers' stock attention processors.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from transformers import SiglipImageProcessorPil, SiglipVisionModel

from core_server.pipelines.memory import Rung
from core_server.pipelines.model import LoadedModel
from core_server.pipelines.reference_kit import ReferenceKit, View

Tensor = torch.Tensor


@dataclass(slots=True, eq=False)
class TimedReferenceKit(ReferenceKit):
    """The same for Stable Diffusion 3."""

    @staticmethod
    def converted(parts: dict[str, dict[str, Tensor]], denoiser: Any) -> tuple[Any, dict[str, Any]]:
        """Projection and attention processors."""
        projection = denoiser._convert_ip_adapter_image_proj_to_diffusers(
            parts["image_proj"], low_cpu_mem_usage=True
        )
        made = denoiser._convert_ip_adapter_attn_to_diffusers(
            parts["ip_adapter"], low_cpu_mem_usage=True
        )
        return projection, made

    @staticmethod
    def encoder_class() -> Any:
        """Of its eyes."""
        return SiglipVisionModel

    def _pixels(self, array: npt.NDArray[np.uint8], side: int) -> Tensor:
        prepare = SiglipImageProcessorPil(size={"height": side, "width": side})
        values: Tensor = prepare(Image.fromarray(array), return_tensors="pt").pixel_values
        return values

    def _view(self, values: Tensor) -> View:
        with torch.no_grad():
            seen = self._encoder(values, output_hidden_states=True).hidden_states[-2].cpu()
        return View(seen, torch.zeros_like(seen))

    def given(self, views: Sequence[View], rows: int, device: torch.device) -> Tensor:
        """What the denoiser takes; rows: 2 where it is guided, nothing's view first."""
        [view] = views
        return torch.cat([view.nothing, view.picture])[-rows:].to(device)

    @contextmanager
    def worn(self, denoiser: Any, weights: Sequence[float], model: LoadedModel) -> Iterator[None]:
        """Within the context the denoiser looks at the picture; afterwards it is as before."""
        before, projection = denoiser.attn_processors, getattr(denoiser, "image_proj", None)
        for it in self.processors.values():
            it.to(model.device, model.dtype)
            it.scale = weights[0]
        try:
            denoiser.set_attn_processor(dict(self.processors))
            denoiser.image_proj = self.projection.to(model.device, model.dtype)
            yield
        finally:
            denoiser.image_proj = projection
            denoiser.set_attn_processor(dict(before))
            if model.rung not in (None, Rung.RESIDENT):
                for it in (self.projection, *self.processors.values()):
                    it.to("cpu")
