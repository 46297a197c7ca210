"""What a server offers to paint with: models, schedulers, adapters, styles, and what could be installed."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from scumble.client.values import AdapterKind, Extent


class ModelState(StrEnum):
    """Where a model stands."""

    AVAILABLE = "available"
    INSTALLED = "installed"
    LOADING = "loading"
    LOADED = "loaded"


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """What a model is and likes. Extents in px; license: SPDX id or name; tasks by name.

    best_extent: the size to offer where none was chosen, None if the server does not know. trained: False for the
    test model. kind, memory_bytes (what a device should have, 0 unknown) and recommended: of what can be installed.
    shortcuts: fields of a request by which it paints faster at a cost, such as "guidance_end"; "denoiser_precision"
    also needs `ServerInfo.denoiser_precisions`.
    """

    model_id: str
    title: str
    family: str
    state: ModelState
    license: str
    commercial_use: bool
    size_bytes: int
    min_extent: Extent
    max_extent: Extent
    num_inference_steps: int
    guidance_scale: float
    scheduler: str
    tasks: tuple[str, ...]
    description: str
    is_default: bool
    best_extent: Extent | None = None
    trained: bool = True
    kind: str = "model"
    memory_bytes: int = 0
    recommended: bool = False
    shortcuts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class AdapterInfo:
    """An adapter on the server. family: the one it fits, "" if nobody knows. license: "unknown" likewise."""

    name: str
    kind: AdapterKind
    family: str
    trigger_words: tuple[str, ...]
    size_bytes: int
    license: str


@dataclass(frozen=True, slots=True, kw_only=True)
class InstallPlan:
    """What an installation would bring: size_bytes 0 where the source does not say; url: where to read the licence."""

    model: Model
    size_bytes: int
    license_note: str
    url: str


@dataclass(frozen=True, slots=True, kw_only=True)
class InstallProgress:
    """Bytes done of total_bytes (0: unknown). model: set in the last one."""

    done_bytes: int
    total_bytes: int
    stage: str
    model: Model | None = None


@dataclass(frozen=True, slots=True)
class Scheduler:
    """A scheduler by the name to use in requests, such as "euler", and its title for people."""

    name: str
    title: str
    is_default: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Style:
    """A prompt template by the name to use in requests. prompt: `{prompt}` in it stands for the artist's words.

    negative_prompt: what is added to the artist's. is_own: the user's, not a shipped one.
    """

    name: str
    prompt: str
    negative_prompt: str = ""
    is_own: bool = False
