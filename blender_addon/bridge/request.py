"""What the artist asked for: plain values, read from Blender on the main thread and handed to the bridge."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from scumble.client import Client, Texture


@dataclass(frozen=True, slots=True)
class Server:
    """Where to find the server. Empty fields mean: as `scumble.client.connect` finds it."""

    address: str = ""
    """host:port"""
    token: str = ""
    data_dir: Path | None = None
    root_certificates: Path | None = None
    """PEM file to trust for a server that uses TLS."""


@dataclass(frozen=True, slots=True)
class TextureRequest:
    """One texture. Units and ranges as in `scumble.v1.GenerationParameters`; None, and a side of 0, take the model's
    own value."""

    prompt: str
    width: int
    height: int
    seed: int
    negative_prompt: str = ""
    model: str = ""
    num_inference_steps: int | None = None
    guidance_scale: float | None = None
    seamless: str = "xy"
    """none, x, y or xy"""

    def to_client(self, client: Client) -> Texture:
        """The client library's request, with the model's best size for sides of 0. Bridge thread only."""
        from scumble.client import SeamlessAxes, Texture

        width, height = self.width, self.height
        if not (width and height):
            best = client.best_extent(self.model)
            width, height = width or best.width, height or best.height
        return Texture(
            prompt=self.prompt,
            width=width,
            height=height,
            seed=self.seed,
            negative_prompt=self.negative_prompt,
            model=self.model,
            num_inference_steps=self.num_inference_steps,
            guidance_scale=self.guidance_scale,
            seamless=SeamlessAxes(self.seamless),
        )
