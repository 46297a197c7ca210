"""Small values: geometry, enums, plans and what the server says about itself.

Enums carry the names of their `scumble.v1` counterparts in lower case; "auto" stands for UNSPECIFIED.
Rectangles: origin top-left, left and top inclusive, right and bottom exclusive, unit px.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple


class Extent(NamedTuple):
    """A size in px, each side at least 1."""

    width: int
    height: int


class Bounds(NamedTuple):
    """An integer rectangle. x and y may be negative only where a context wraps around a seamless texture."""

    x: int
    y: int
    width: int
    height: int

    @property
    def extent(self) -> Extent:
        """Its size."""
        return Extent(self.width, self.height)

    @property
    def right(self) -> int:
        """First column beyond it."""
        return self.x + self.width

    @property
    def bottom(self) -> int:
        """First row beyond it."""
        return self.y + self.height


class SampleType(StrEnum):
    """The number type of one sample: 0..255, 0..65535, or floats where 1.0 is full scale."""

    U8 = "u8"
    U16 = "u16"
    F16 = "f16"
    F32 = "f32"

    @property
    def size(self) -> int:
        """Bytes of one sample."""
        return {"u8": 1, "u16": 2, "f16": 2, "f32": 4}[self.value]

    @property
    def dtype(self) -> str:
        """Little-endian numpy dtype, such as "<u2"."""
        return {"u8": "|u1", "u16": "<u2", "f16": "<f2", "f32": "<f4"}[self.value]

    @property
    def full_scale(self) -> int:
        """The number that stands for 1.0."""
        return {"u8": 255, "u16": 65535, "f16": 1, "f32": 1}[self.value]


class ColorSpace(StrEnum):
    """What the numbers mean. NON_COLOR is data (normal, roughness, mask) and is never colour-converted."""

    SRGB = "srgb"
    LINEAR_REC709 = "linear_rec709"
    ICC = "icc"
    NON_COLOR = "non_color"


class SeamlessAxes(StrEnum):
    """Axes along which an image tiles without a seam."""

    NONE = "none"
    X = "x"
    Y = "y"
    XY = "xy"


class CanvasIntent(StrEnum):
    """What the artist wants inside the selection. AUTO: FILL with a prompt, REMOVE_OBJECT without one."""

    AUTO = "auto"
    FILL = "fill"
    ADD_OBJECT = "add_object"
    REMOVE_OBJECT = "remove_object"
    EXPAND = "expand"
    REFINE = "refine"


class FillMode(StrEnum):
    """What lies under the mask before denoising. AUTO: chosen from the intent."""

    AUTO = "auto"
    BLUR = "blur"
    NEUTRAL = "neutral"
    BORDER = "border"
    STRUCTURE = "structure"
    NONE = "none"


class ModelSizing(StrEnum):
    """Why a model works at the size it does: the context's own, ENLARGED for detail, REDUCED to the model's range, or
    CAPPED by the device's memory."""

    AS_IS = "as_is"
    ENLARGED = "enlarged"
    REDUCED = "reduced"
    CAPPED = "capped"


class MaterialMap(StrEnum):
    """The maps of a physically based material."""

    BASE_COLOR = "base_color"
    NORMAL = "normal"
    ROUGHNESS = "roughness"
    HEIGHT = "height"
    AMBIENT_OCCLUSION = "ambient_occlusion"


class StructureStart(StrEnum):
    """What a picture from the prompt alone starts from. AUTO: the model's own way."""

    AUTO = "auto"
    NOISE = "noise"
    LAYOUT = "layout"


class DenoiserPrecision(StrEnum):
    """What the products in a denoiser's blocks may be computed in."""

    FP8 = "fp8"
    INT8 = "int8"


class AdapterKind(StrEnum):
    """What an adapter is."""

    LORA = "lora"
    TEXTUAL_INVERSION = "textual_inversion"


class Priority(StrEnum):
    """How urgent a job is among those of the same token."""

    INTERACTIVE = "interactive"
    NORMAL = "normal"
    BATCH = "batch"


class JobState(StrEnum):
    """Where a job stands."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def is_final(self) -> bool:
        """Whether a job in this state stays in it."""
        return self in (JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED)


class WorkerState(StrEnum):
    """Where the server's worker process stands. Jobs are accepted in every state and wait for READY."""

    STARTING = "starting"
    READY = "ready"
    RESTARTING = "restarting"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Adapter:
    """A LoRA or textual inversion by its name on the server. weight: -2..2."""

    kind: AdapterKind
    name: str
    weight: float = 1.0


class ControlKind(StrEnum):
    """What a control image shows."""

    DEPTH = "depth"
    NORMAL = "normal"
    LINE = "line"
    POSE = "pose"
    TILE = "tile"
    INPAINT = "inpaint"


@dataclass(frozen=True, slots=True, kw_only=True)
class CanvasOptions:
    """What the artist overrides; None and AUTO are chosen by the planner. Unit: document px; color_match 0..1.

    passes: 1 paints once, however large; 2 always refines the mask at full resolution afterwards.
    """

    intent: CanvasIntent = CanvasIntent.AUTO
    fill: FillMode = FillMode.AUTO
    exact_selection: bool = False
    grow: int | None = None
    feather: int | None = None
    padding: int | None = None
    seamless: SeamlessAxes = SeamlessAxes.NONE
    color_match: float | None = None
    passes: int | None = None


DEFAULT_OPTIONS = CanvasOptions()
"""All of it chosen by the planner."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CanvasPlan:
    """The server's answer to a selection: selection within mask within context within document, all document px.

    Read `context` from the document and send it; `model` is the size the model works at. padding: px of context aimed
    at. max_model_pixels: most px of one pass on the server's device, 0 = no limit. With two passes `refine` is painted
    again, at `refine_model` px with `refine_strength`. color_match: share of the correction of the patch's colours.
    """

    document: Extent
    selection: Bounds
    mask: Bounds
    context: Bounds
    model: Extent
    grow: int
    feather: int
    blend: int
    exact_selection: bool
    fill: FillMode
    intent: CanvasIntent
    passes: int
    seamless: SeamlessAxes
    padding: int = 0
    sizing: ModelSizing = ModelSizing.AS_IS
    max_model_pixels: int = 0
    refine: Bounds | None = None
    refine_model: Extent | None = None
    refine_strength: float = 0.0
    color_match: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What the server allows; 0 where it does not say."""

    max_pixels: int
    max_side: int
    max_steps: int
    max_count: int
    max_queued_jobs: int
    max_message_bytes: int
    max_store_bytes: int
    max_result_age_seconds: int
    max_prompt_chars: int
    max_upload_bytes: int = 0
    max_queued_jobs_per_owner: int = 0
    max_calls_per_owner: int = 0
    max_connections: int = 0
    max_stall_seconds: int = 0
    max_worker_bytes: int = 0
    max_log_bytes: int = 0
    max_idle_seconds: int = 0
    max_upload_pause_seconds: int = 0
    max_live_sessions: int = 0
    max_live_sessions_per_owner: int = 0
    max_live_pixels: int = 0
    max_live_steps: int = 0
    max_live_hold_seconds: int = 0
    max_live_idle_seconds: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class NumberRange:
    """Numbers that a request may carry. above_low: whether low itself is not allowed."""

    low: float
    high: float
    above_low: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheFigures:
    """How a cache of the worker does. bytes: on the device, 0 where they are counted with the model."""

    name: str
    hits: int
    misses: int
    bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerInfo:
    """Who answers. device: such as "cuda:0 (NVIDIA H100)", empty until the worker has told. Memory in bytes.

    token_name, token_scopes: which token we came with, and what it may do ("use", "admin"). ranges: what the numbers of
    a request may be, by path such as "parameters.guidance_scale"; that of a list means how many there may be.
    denoiser_precisions: those that the server's device has.
    """

    address: str
    version: str
    device: str
    device_memory_bytes: int
    device_free_bytes: int
    worker_state: WorkerState
    worker_message: str
    default_model: str
    limits: Limits
    features: tuple[str, ...]
    active_jobs: int
    recommended_extent: Extent
    token_name: str = ""
    token_scopes: tuple[str, ...] = ()
    caches: tuple[CacheFigures, ...] = ()
    ranges: Mapping[str, NumberRange] = field(default_factory=dict)
    denoiser_precisions: tuple[DenoiserPrecision, ...] = ()
