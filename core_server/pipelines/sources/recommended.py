"""The models worth recommending, with licence, size and the memory they need: `recommended.json`. Free of torch."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path

import msgspec

from core_server.canvas.geometry import Extent

FILE = Path(__file__).with_name("recommended.json")
GIB = 2**30


class Recommended(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """source: what to install. kind: model, lora, controlnet, reference. size_bytes: about. memory_bytes: of the
    device, at least. files: those of the repository that are wanted, by their path here; none: what it offers itself.

    family: as families are named; for an adapter the one that it fits. settings: further fields of profile.json.
    """

    id: str
    title: str
    source: str
    kind: str
    family: str
    license: str
    commercial_use: bool
    size_bytes: int
    memory_bytes: int
    description: str
    tasks: tuple[str, ...] = ()
    files: Mapping[str, str] = {}
    min_extent: Extent = Extent(512, 512)
    max_extent: Extent = Extent(1024, 1024)
    num_inference_steps: int = 25
    guidance_scale: float = 7.0
    scheduler: str = ""

    def profile(self) -> dict[str, object]:
        """Fields of profile.json that the files themselves do not tell."""
        told = {
            "title": self.title,
            "license": self.license,
            "commercial_use": self.commercial_use,
            "num_inference_steps": self.num_inference_steps,
            "guidance_scale": self.guidance_scale,
            "description": self.description,
        }
        return told | ({"scheduler": self.scheduler} if self.scheduler else {})


@cache
def recommended() -> tuple[Recommended, ...]:
    """All of them, in the order to show."""
    return msgspec.json.decode(FILE.read_bytes(), type=tuple[Recommended, ...])


def recommended_named(name: str) -> Recommended | None:
    """The one of that id."""
    return next((entry for entry in recommended() if entry.id == name), None)


def best_for(memory_bytes: int) -> tuple[str, ...]:
    """Ids of models that fit into the device's memory (0: unknown), the most demanding first."""
    fitting = [it for it in recommended() if it.kind == "model" and it.memory_bytes <= memory_bytes]
    return tuple(it.id for it in sorted(fitting, key=lambda it: -it.memory_bytes))
