"""Painting live: canvases go out, pictures come in, the newest of both, on threads of their own.

The main thread leaves a canvas and takes a picture, and waits for neither.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .pictures import FloatArray, Picture, Source, picture_from_pixels, to_blender, to_unit_floats
from .repaint import painted_channels, to_pixels
from .request import DEFAULT_OPTIONS, Options, Server
from .session import Connector, explain

if TYPE_CHECKING:
    from scumble.client import Live, LivePicture, LiveSession, Pixels

_TURN_SECONDS = 0.2
"""How soon a thread sees that it is to end."""


@dataclass(frozen=True, slots=True)
class LiveWish:
    """How to paint. longest: the longest side of the pictures, px; a canvas is never enlarged to it. steps: those
    really run, 1..4; 0 lets the server choose."""

    prompt: str
    strength: float
    seed: int
    longest: int = 512
    steps: int = 0
    seamless: str = "none"
    options: Options = DEFAULT_OPTIONS

    def fields(self) -> dict[str, Any]:
        """The client library's settings. Bridge thread only."""
        from scumble.client import SeamlessAxes

        settings = self.options.to_client()
        settings.update(
            prompt=self.prompt,
            strength=self.strength,
            seed=self.seed,
            seamless=SeamlessAxes(self.seamless),
            num_inference_steps=self.steps or None,
            count=1,
        )
        return settings

    def to_client(self) -> Live:
        """As a live session is opened with it. Bridge thread only."""
        from scumble.client import Live

        return Live(**self.fields())


@dataclass(frozen=True, slots=True)
class LiveResult:
    """A picture as Blender holds one: flat is `Image.pixels`, width x height x 4, bottom row first, stored value / 255
    for byte images and scene-linear light for float images."""

    flat: FloatArray
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class _Last:
    """The newest picture as it came, for Keep."""

    picture: LivePicture
    wish: LiveWish
    is_premultiplied: bool


class LiveBridge:
    """One live session from its start to its end. Every method returns at once, `close` after a moment."""

    def __init__(self, connect: Connector, server: Server, wish: LiveWish) -> None:
        self._connect, self._server = connect, server
        self._changed = threading.Condition()
        self._wish = wish
        self._canvas: Source | None = None
        self._offers = 0
        self._sent: list[tuple[int, int, LiveWish]] = []
        self._painted_with = wish
        self._frame = self._answered = 0
        self._result: LiveResult | None = None
        self._last: _Last | None = None
        self._kept: Picture | None = None
        self._spare: list[FloatArray] = []
        self._before: Source | None = None
        self._stopped = False
        self.error = ""
        """Why it ended by itself, one sentence; "" while it runs and after `close`."""
        self.told = "Connecting"
        """How it goes, for people."""
        self._thread = threading.Thread(target=self._run, name="scumble-live-paint", daemon=True)
        self._thread.start()

    @property
    def running(self) -> bool:
        """Until it was closed or has failed."""
        return not self._stopped and not self.error

    @property
    def wants_canvas(self) -> bool:
        """Whether the last canvas is on its way, so that reading a newer one is worth it."""
        with self._changed:
            return self._canvas is None

    @property
    def answered(self) -> int:
        """Number of the newest canvas whose picture is there; 0 for none."""
        with self._changed:
            return self._answered

    def buffer(self, count: int) -> FloatArray:
        """An array of `count` floats to read a canvas into: one that is used no more, where there is one."""
        with self._changed:
            for number, spare in enumerate(self._spare):
                if len(spare) == count:
                    return self._spare.pop(number)
            self._spare.clear()
        return np.empty(count, np.float32)

    def offer(self, canvas: Source) -> int:
        """The canvas is this now; its number. One that was not sent yet is dropped."""
        with self._changed:
            if self._canvas is not None:
                self._spare.append(self._canvas.flat)
            self._canvas = canvas
            self._offers += 1
            self._changed.notify_all()
            return self._offers

    def change(self, wish: LiveWish) -> None:
        """Paints like this from now on."""
        with self._changed:
            self._wish = wish
            self._changed.notify_all()

    def take(self) -> LiveResult | None:
        """The newest picture, once."""
        with self._changed:
            result, self._result = self._result, None
            return result

    def keep(self, name: str) -> bool:
        """Encodes the newest picture, on a thread; `take_kept` has it then. Whether there is one.

        name: of its canvas.
        """
        with self._changed:
            last = self._last
        if last is None:
            return False

        def encode() -> None:
            kept = _kept(last, name)
            with self._changed:
                self._kept = kept

        threading.Thread(target=encode, name="scumble-live-keep", daemon=True).start()
        return True

    def take_kept(self) -> Picture | None:
        """What `keep` encoded, once."""
        with self._changed:
            kept, self._kept = self._kept, None
            return kept

    def stop(self) -> None:
        """Ends the session; its threads end by themselves. The newest picture can still be kept."""
        with self._changed:
            self._stopped = True
            self._canvas = self._before = None
            self._spare.clear()
            self._changed.notify_all()

    def join(self, seconds: float = 2.0) -> None:
        """Waits for the threads, at most so long."""
        self._thread.join(seconds)

    # --- threads

    def _run(self) -> None:
        try:
            with self._connect(self._server) as client:
                wish = self._wish
                with client.live(wish.to_client()) as session:
                    self.told = "Painting the first picture"
                    sender = threading.Thread(
                        target=self._guarded,
                        args=(lambda: self._send(session, wish),),
                        name="scumble-live-send",
                        daemon=True,
                    )
                    sender.start()
                    self._guarded(lambda: self._receive(session))
                    sender.join()
        except Exception as error:  # noqa: BLE001 - every reason reaches the artist
            self._fail(error)

    def _guarded(self, work: Callable[[], None]) -> None:
        try:
            work()
        except Exception as error:  # noqa: BLE001
            self._fail(error)

    def _fail(self, error: Exception) -> None:
        with self._changed:
            if self.running:
                self.error = explain(error)
            self._changed.notify_all()

    def _send(self, session: LiveSession, opened_with: LiveWish) -> None:
        used, frame = opened_with, 0
        while True:
            with self._changed:
                while self.running and self._canvas is None and self._wish == used:
                    self._changed.wait(_TURN_SECONDS)
                if not self.running:
                    return
                wish, canvas, offer = self._wish, self._canvas, self._offers
                self._canvas = None
            before = self._before
            if wish != used:
                session.change(**wish.fields())
                # The canvas goes along again, so that its number tells the picture that follows the change.
                canvas, self._before, used = canvas or before, None, wish
            if canvas is None:
                continue
            if self._before is not None and _same(canvas, self._before):
                self._note_sent(frame, offer, used, canvas)
                continue
            wire = reduced(canvas, wish.longest).to_wire()
            frame = session.send(to_pixels(painted_channels(wire), canvas.color_space))
            self._note_sent(frame, offer, used, None if before is canvas else before)
            self._before = canvas

    def _note_sent(self, frame: int, offer: int, wish: LiveWish, done_with: Source | None) -> None:
        with self._changed:
            self._sent.append((frame, offer, wish))
            self._settle()
            if done_with is not None:
                self._spare.append(done_with.flat)

    def _settle(self) -> None:
        """Finds the newest canvas whose picture is there, and what that was painted with. Under the lock."""
        for frame, offer, wish in self._sent:
            if frame <= self._frame:
                self._answered, self._painted_with = max(self._answered, offer), wish
        self._sent = [entry for entry in self._sent if entry[0] > self._frame]

    def _receive(self, session: LiveSession) -> None:
        shown: Pixels | None = None
        while self.running:
            picture = session.latest(_TURN_SECONDS)
            self.told = _told(session, picture, self.told)
            if picture is None:
                continue
            canvas = self._before
            premultiplied = canvas is not None and canvas.is_premultiplied
            # Not `unchanged`: that may stand for a picture which was replaced before it was given out.
            result = _result(picture, premultiplied) if picture.pixels is not shown else None
            shown = picture.pixels
            with self._changed:
                self._frame = picture.frame_number
                self._settle()
                if result is not None:
                    self._result = result
                    self._last = _Last(picture, self._painted_with, premultiplied)


def fitted(width: int, height: int, longest: int) -> tuple[int, int]:
    """The size of the pictures of a canvas."""
    scale = min(1.0, longest / max(width, height))
    return max(1, round(width * scale)), max(1, round(height * scale))


def reduced(canvas: Source, longest: int) -> Source:
    """The canvas with no side above `longest` px: each px is the mean of those it stands for."""
    width, height = fitted(canvas.width, canvas.height, longest)
    if (width, height) == (canvas.width, canvas.height):
        return canvas
    rows = canvas.flat.reshape(canvas.height, canvas.width, 4)
    rows = _means(_means(rows, height, 0), width, 1)
    return replace(canvas, flat=np.ascontiguousarray(rows).ravel(), width=width, height=height)


def _means(array: FloatArray, count: int, axis: int) -> FloatArray:
    edges = np.arange(count) * array.shape[axis] // count
    sizes = np.diff(np.append(edges, array.shape[axis])).astype(np.float32)
    sums = np.add.reduceat(array, edges, axis=axis)
    sums /= sizes[:, None, None] if axis == 0 else sizes[None, :, None]
    return sums


def _same(one: Source, other: Source) -> bool:
    return (one.width, one.height) == (other.width, other.height) and np.array_equal(
        one.flat, other.flat
    )


def _result(picture: LivePicture, premultiplied: bool) -> LiveResult:
    pixels = picture.pixels
    array = pixels.numpy()
    if array.dtype.kind == "f":
        rows = to_blender(array, pixels.color_space)
        if premultiplied:
            rows[..., :3] *= rows[..., 3:]
    else:
        rows = np.ones((pixels.height, pixels.width, 4), np.float32)
        rows[..., : pixels.channels] = to_unit_floats(array)[::-1]
    return LiveResult(rows.ravel(), pixels.width, pixels.height)


def _told(session: LiveSession, picture: LivePicture | None, before: str) -> str:
    """In the words of the panel. The server's rate is no use here: it counts the artist's pauses, too."""
    if picture is None:
        return session.waiting or before
    if picture.unchanged:
        return before
    notes = "".join(
        f". {note[:1].upper()}{note[1:].rstrip('.')}" for note in picture.settings.notes
    )
    return f"Live: a picture takes {picture.latency:.2g} s{notes}"


def _kept(last: _Last, name: str) -> Picture:
    """Encoded, with a recipe like that of any picture."""
    settings, wish, pixels = last.picture.settings, last.wish, last.picture.pixels
    array: NDArray[Any] = pixels.numpy()
    recipe: dict[str, Any] = {
        "task": "image_to_image",
        "live": True,
        "canvas": name,
        "prompt": wish.prompt,
        "negative_prompt": wish.options.negative_prompt,
        "model": settings.model,
        "num_inference_steps": settings.num_inference_steps,
        "strength": settings.strength,
        "guidance_scale": settings.guidance_scale,
        "scheduler": settings.scheduler,
        "few_step": settings.few_step,
        "seed": settings.seed,
        "seamless": wish.seamless,
        "extent": [pixels.width, pixels.height],
        "model_extent": list(settings.model_extent),
        "notes": list(settings.notes),
    }
    if wish.options.style:
        recipe |= {"style": wish.options.style, "prompt_without_style": wish.prompt}
        recipe["negative_prompt_without_style"] = wish.options.negative_prompt
    if wish.options.loras:
        recipe["adapters"] = [
            {"kind": "lora", "name": lora, "weight": weight} for lora, weight in wish.options.loras
        ]
    if last.is_premultiplied and array.shape[2] == 4:
        array = np.concatenate([array[..., :3] * array[..., 3:], array[..., 3:]], axis=2)
        pixels = to_pixels(array, pixels.color_space)
    return picture_from_pixels(pixels, settings.seed, recipe)
