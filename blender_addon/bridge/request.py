"""What the artist asked for: plain values, read from Blender on the main thread and handed to the bridge."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from scumble.client import Texture


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
    """One texture. Units and ranges as in `scumble.v1.GenerationParameters`; None takes the model's own value."""

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

    def to_client(self) -> Texture:
        """The client library's request. Imports the client; bridge thread only."""
        from scumble.client import SeamlessAxes, Texture

        return Texture(
            prompt=self.prompt,
            width=self.width,
            height=self.height,
            seed=self.seed,
            negative_prompt=self.negative_prompt,
            model=self.model,
            num_inference_steps=self.num_inference_steps,
            guidance_scale=self.guidance_scale,
            seamless=SeamlessAxes(self.seamless),
        )
