"""What the artist asks for."""

from __future__ import annotations

from dataclasses import dataclass, field

from photoshop_plugin.document import NO_SIDES, Sides, Source
from photoshop_plugin.task import Task
from scumble.client import Adapter, CanvasOptions


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What the artist asks for; None and "" take the model's defaults. Ranges as in `scumble.client.requests`.

    source: what of the document is read; results stand above the active layer unless it is MERGED. sides: px that
    EXTEND adds; none at all fills what is transparent. factor: of UPSCALE, 2 or 4. pattern_side: px of PATTERN.
    """

    prompt: str
    negative_prompt: str = ""
    strength: float = 1.0
    model: str = ""
    num_inference_steps: int | None = None
    guidance_scale: float | None = None
    scheduler: str = ""
    seed: int | None = None
    count: int = 1
    style: str = ""
    adapters: tuple[Adapter, ...] = ()
    few_step: bool | None = None
    guidance_end: float | None = None
    block_cache: float | None = None
    denoiser_precision: str | None = None
    task: Task = Task.AUTO
    source: Source = Source.MERGED
    sides: Sides = NO_SIDES
    factor: int = 2
    pattern_side: int = 512
    options: CanvasOptions = field(default_factory=CanvasOptions)
