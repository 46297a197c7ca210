"""What the artist asked for: plain values, read from Blender on the main thread and handed to the bridge."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from .pictures import Picture, picture_from_patch

if TYPE_CHECKING:
    from scumble.client import Client, Patch, Request, Texture


class Ask(Protocol):
    """Hands one request to the server and waits for its pictures, telling how far it is."""

    def __call__(self, request: Request, part: int = 0, parts: int = 1) -> list[Patch]:
        """part of parts: where this request stands among those of one wish."""
        ...


class Work(Protocol):
    """One wish of the artist. Made on the main thread, done on the bridge's."""

    @property
    def prompt(self) -> str:
        """Names what comes of it."""
        ...

    def paint(self, client: Client, ask: Ask) -> tuple[Picture, ...]:
        """Does it. Raises the client's errors, and BridgeError."""
        ...


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
class Options:
    """What all wishes share. Units and ranges as in `scumble.v1.GenerationParameters`; None and "" take the model's own
    value."""

    negative_prompt: str = ""
    model: str = ""
    num_inference_steps: int | None = None
    guidance_scale: float | None = None
    count: int = 1
    loras: tuple[tuple[str, float], ...] = ()
    """Names on the server and their weights, -2..2."""
    scheduler: str = ""
    style: str = ""
    structure: str = "auto"
    few_step: bool | None = None
    guidance_end: float | None = None
    block_cache: float | None = None
    denoiser_precision: str | None = None

    def to_client(self) -> dict[str, Any]:
        """The client library's common fields. Bridge thread only."""
        from scumble.client import Adapter, AdapterKind

        return {
            "negative_prompt": self.negative_prompt,
            "model": self.model,
            "num_inference_steps": self.num_inference_steps,
            "guidance_scale": self.guidance_scale,
            "count": self.count,
            "adapters": tuple(Adapter(AdapterKind.LORA, name, w) for name, w in self.loras),
            "scheduler": self.scheduler,
            "style": self.style,
            "structure": self.structure,
            "few_step": self.few_step,
            "guidance_end": self.guidance_end,
            "block_cache": self.block_cache,
            "denoiser_precision": self.denoiser_precision,
        }


DEFAULT_OPTIONS = Options()


@dataclass(frozen=True, slots=True)
class TextureRequest:
    """One texture. A side of 0 takes the model's best size."""

    prompt: str
    width: int
    height: int
    seed: int
    options: Options = DEFAULT_OPTIONS
    seamless: str = "xy"
    """none, x, y or xy"""
    maps: tuple[str, ...] = ()
    """Names of `scumble.client.MaterialMap` beside the base colour."""

    def paint(self, client: Client, ask: Ask) -> tuple[Picture, ...]:
        """Base colour first, then its maps, for each variation."""
        return tuple(picture_from_patch(patch) for patch in ask(self.to_client(client)))

    def to_client(self, client: Client) -> Texture:
        """The client library's request, with the model's best size for sides of 0. Bridge thread only."""
        from scumble.client import SampleType, SeamlessAxes, Texture

        width, height = self.width, self.height
        if not (width and height):
            best = client.best_extent(self.options.model)
            width, height = width or best.width, height or best.height
        return Texture(
            prompt=self.prompt,
            width=width,
            height=height,
            seed=self.seed,
            seamless=SeamlessAxes(self.seamless),
            maps=("base_color", *self.maps) if self.maps else (),
            height_sample_type=SampleType.U16,
            **self.options.to_client(),
        )
