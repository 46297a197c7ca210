"""A whole animation restyled, frame by frame: what is there already is skipped, so that it goes on where it ended."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import bpy

from ..bridge import events
from ..bridge.errors import BridgeError, Refused
from ..bridge.pictures import Source
from ..bridge.request import Options, Server, Work
from ..bridge.restyle import RenderFile, RestyleRequest
from . import renders
from .landing import Landing

_LIST = "scumble.json"
"""Beside the frames: the settings they were made with."""
_AWAY = ("NOT_RUNNING", "UNAVAILABLE")
_MOST_TRIES, _RETRY_SECONDS = 6, 10.0


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do with each frame. frames_from: RENDER lets Blender render each frame, FILES takes those in the scene's
    Output. seed_policy: FIXED or FRAME, which adds the frame's number. control: as of `RestyleRequest`."""

    folder: Path
    frames: tuple[int, ...]
    frames_from: str
    seed: int
    seed_policy: str
    prompt: str
    strength: float
    control: str
    options: Options = field(default_factory=Options)

    def name(self, frame: int) -> str:
        """Of a frame's file, without its suffix."""
        return f"{frame:04d}"

    def is_done(self, frame: int) -> bool:
        """Whether a frame is in the folder."""
        return any((self.folder / f"{self.name(frame)}{end}").is_file() for end in (".png", ".exr"))

    def settings(self) -> dict[str, Any]:
        """What must be the same for all frames of a folder."""
        options = self.options
        return {
            "prompt": self.prompt,
            "negative_prompt": options.negative_prompt,
            "model": options.model,
            "num_inference_steps": options.num_inference_steps,
            "guidance_scale": options.guidance_scale,
            "scheduler": options.scheduler,
            "style": options.style,
            "loras": [list(lora) for lora in options.loras],
            "few_step": options.few_step,
            "guidance_end": options.guidance_end,
            "block_cache": options.block_cache,
            "denoiser_precision": options.denoiser_precision,
            "strength": round(self.strength, 6),
            "control": self.control,
            "frames_from": self.frames_from,
            "seed_policy": self.seed_policy,
        }


def opened(plan: Plan, *, overwrite: bool, seed_is_chosen: bool) -> Plan:
    """The plan as the folder wants it: made if it is new, gone on with if it holds frames of the same settings.

    An unlocked seed becomes that of the frames that are there. Raises Refused where the folder holds others.
    """
    path = plan.folder / _LIST
    try:
        plan.folder.mkdir(parents=True, exist_ok=True)
        earlier = json.loads(path.read_text()) if path.is_file() and not overwrite else None
        if overwrite:
            for frame in plan.frames:
                for end in (".png", ".exr"):
                    (plan.folder / f"{plan.name(frame)}{end}").unlink(missing_ok=True)
    except (OSError, ValueError) as error:
        raise Refused(f"The folder {plan.folder} cannot be used: {error}.") from error
    done = any(plan.is_done(frame) for frame in plan.frames)
    if done and earlier is None:
        raise Refused(
            f"The folder {plan.folder} holds frames that Scumble did not make: choose another one, or Overwrite."
        )
    if done and earlier is not None:
        seed = int(earlier.pop("seed", plan.seed))
        if dict.fromkeys(plan.settings()) | earlier != plan.settings() or (
            seed_is_chosen and seed != plan.seed
        ):
            raise Refused(
                f"The folder {plan.folder} holds frames made with other settings: choose another one, or Overwrite."
            )
        plan = replace(plan, seed=seed)
    try:
        path.write_text(json.dumps({**plan.settings(), "seed": plan.seed}, indent=2) + "\n")
    except OSError as error:
        raise Refused(
            f"The folder {plan.folder} cannot be written to: {error.strerror}."
        ) from error
    return plan


@dataclass(frozen=True, slots=True)
class _InFolder:
    """The bridge has written the file; Blender's data stays as it is."""

    title: str = "Scumble: Restyle Animation"

    def overwritten(self) -> None:
        """See `Landing`."""

    def lay(self, pictures: Any, prompt: str) -> tuple[list[bpy.types.Image], str]:
        """See `Landing`."""
        return [], ""


class FrameBatch:
    """One run over the frames. `tick` is called while it lives; `ended` says how it went."""

    def __init__(
        self, plan: Plan, server: Server, begin: Callable[[Server, Work, Landing], None]
    ) -> None:
        self._plan, self._server, self._begin = plan, server, begin
        self._left = [frame for frame in plan.frames if not plan.is_done(frame)]
        self._made = 0
        self._control = plan.control
        self._frame_before = bpy.context.scene.frame_current
        self._render: _Render | None = None
        self._tries, self._not_before = 0, 0.0
        self.ended = ""
        """How it ended, one sentence; "" while it runs."""
        self.failed = False

    @property
    def now(self) -> str:
        """For the progress bar: "Frame 12 (3 of 40)"."""
        return f"Frame {self._left[0]} ({self._done + 1} of {len(self._plan.frames)})"

    @property
    def stage(self) -> str:
        """What is done between two generations."""
        return "Waiting for the server" if time.monotonic() < self._not_before else "Rendering"

    @property
    def _done(self) -> int:
        return len(self._plan.frames) - len(self._left)

    def tick(self, outcome: events.Event | None) -> None:
        """One turn while nothing is painted. outcome: how the last frame ended; None if none has since then."""
        match outcome:
            case events.Failed() if outcome.reason in _AWAY and self._tries < _MOST_TRIES:
                self._tries += 1  # the server may be starting anew: the frame is tried again
                self._not_before = time.monotonic() + _RETRY_SECONDS
            case events.Failed():
                self.end(f"Frame {self._left[0]}: {outcome.message}", failed=True)
            case events.Cancelled():
                self.end("Cancelled.")
            case events.Painted():
                self._left.pop(0)
                self._tries = 0
                self._made += 1
                if self._control == "auto" and "control_images" not in outcome.pictures[0].recipe:
                    self._control = (
                        "none"  # the server has no network for it: the next frame need not ask
                    )
        if self.ended or time.monotonic() < self._not_before:
            return
        try:
            self._next()
        except BridgeError as error:
            self.end(f"Frame {self._left[0]}: {error}", failed=True)

    def end(self, how: str, *, failed: bool = False) -> None:
        """Ends it; the frames that are done stay."""
        if self.ended:
            return
        count = len(self._plan.frames)
        again = "" if self._done == count else "; press again to go on"
        self.ended = f"{how} {self._done} of {count} frames are in {self._plan.folder}{again}."
        self.failed = failed
        if self._render is not None:
            self._render.close()
        scene = bpy.context.scene
        if scene.frame_current != self._frame_before:
            scene.frame_set(self._frame_before)

    def _next(self) -> None:
        """Gets the next frame's picture, and hands it in once it is there."""
        if not self._left:
            self.end(f"Restyled {self._made} frames.")
            return
        context, frame = bpy.context, self._left[0]
        if self._plan.frames_from == "RENDER":
            if self._render is None:
                context.scene.frame_set(frame)
                self._render = _Render()
            if self._render.is_running:
                return
            self._render.close()
            complete, self._render = self._render.complete, None
            if not complete:
                raise Refused("Blender's rendering was cancelled.")
            picture: RenderFile | Source = renders.last_render(context)
        else:
            picture = renders.frame_file(Path(context.scene.render.frame_path(frame=frame)))
            if self._control != "none":
                context.scene.frame_set(frame)
        plan = self._plan
        work = RestyleRequest(
            prompt=plan.prompt,
            picture=picture,
            seed=plan.seed + (frame if plan.seed_policy == "FRAME" else 0),
            strength=plan.strength,
            scene=renders.scene_before(context, "CAMERA") if self._control != "none" else None,
            control=self._control,
            options=plan.options,
            into=plan.folder / plan.name(frame),
        )
        self._begin(self._server, work, _InFolder())


class _Render:
    """One frame that Blender renders: as a job of its own where there is a window, else at once."""

    def __init__(self) -> None:
        self.complete = False
        bpy.app.handlers.render_complete.append(self._completed)
        if bpy.app.background:
            bpy.ops.render.render()
            return
        view = bpy.context.preferences.view
        before, view.render_display_type = view.render_display_type, "NONE"
        try:
            with bpy.context.temp_override(window=bpy.context.window_manager.windows[0]):
                bpy.ops.render.render("INVOKE_DEFAULT")
        finally:
            view.render_display_type = before

    @property
    def is_running(self) -> bool:
        """Whether Blender renders."""
        return not bpy.app.background and bpy.app.is_job_running("RENDER")

    def close(self) -> None:
        """Leaves no handler behind."""
        if self._completed in bpy.app.handlers.render_complete:
            bpy.app.handlers.render_complete.remove(self._completed)

    def _completed(self, *_: Any) -> None:
        self.complete = True
