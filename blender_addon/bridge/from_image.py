"""What is made from a picture as a whole: its material maps, and a larger one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from .pictures import Picture, Source, picture_from_patch
from .repaint import painted_channels, to_pixels
from .request import DEFAULT_OPTIONS, Ask, Options

if TYPE_CHECKING:
    from scumble.client import Client


@dataclass(frozen=True, slots=True)
class MapsRequest:
    """Material maps of a picture. maps: names of `scumble.client.MaterialMap`. prompt: the picture's name."""

    prompt: str
    source: Source
    maps: tuple[str, ...]
    seamless: str = "auto"
    options: Options = DEFAULT_OPTIONS

    def paint(self, client: Client, ask: Ask) -> tuple[Picture, ...]:
        """One picture a map."""
        from scumble.client import MaterialMaps, SampleType

        request = MaterialMaps(
            image=to_pixels(
                np.ascontiguousarray(self.source.to_wire()[..., :3]), self.source.color_space
            ),
            maps=self.maps,
            seamless=self.seamless,
            height_sample_type=SampleType.U16,
            model=self.options.model,
        )
        return tuple(picture_from_patch(patch) for patch in ask(request))


@dataclass(frozen=True, slots=True)
class UpscaleRequest:
    """A picture of twice or four times the size. prompt: what it shows; may be empty."""

    prompt: str
    source: Source
    seed: int
    factor: int = 2
    seamless: str = "none"
    options: Options = DEFAULT_OPTIONS

    def paint(self, client: Client, ask: Ask) -> tuple[Picture, ...]:
        """One picture a variation."""
        from scumble.client import SeamlessAxes, Upscale

        request = Upscale(
            prompt=self.prompt,
            image=to_pixels(painted_channels(self.source.to_wire()), self.source.color_space),
            factor=self.factor,
            seed=self.seed,
            seamless=SeamlessAxes(self.seamless),
            **self.options.to_client(),
        )
        return tuple(picture_from_patch(patch) for patch in ask(request))
