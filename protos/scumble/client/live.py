"""Painting live: canvases in, pictures out, the newest of both. Thread-safe."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Any

from scumble.client.connection import Connection
from scumble.client.convert import (
    extent_from_message,
    extent_to_message,
    header_to_message,
    pixels_from_message,
    shortest,
)
from scumble.client.errors import InvalidRequest, ScumbleError, Unavailable
from scumble.client.live_stream import Answer, Frame
from scumble.client.pixels import Pixels
from scumble.client.requests import ImageLike, Live
from scumble.client.submission import parameters_to_message
from scumble.client.values import Extent
from scumble.v1 import image_pb2, live_service_pb2

_HEADROOM_BYTES = 64 * 1024
"""What a message has beside its pixels, at most."""
_CLOSE_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class LiveSettings:
    """What the server paints with, once everything that was left open is filled in. model_extent: the size it paints
    at. notes: what the artist should know."""

    model: str
    num_inference_steps: int
    strength: float
    guidance_scale: float
    scheduler: str
    seed: int
    model_extent: Extent
    few_step: bool
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False)
class LivePicture:
    """A picture. frame_number: as `LiveSession.send` gave it. latency: seconds from the frame's arrival at the server;
    painting: those in the worker. unchanged: the canvas was as before, and this is the picture from then."""

    pixels: Pixels
    frame_number: int
    latency: float
    painting: float
    settings: LiveSettings
    unchanged: bool = False


@dataclass(frozen=True, slots=True)
class LiveFigures:
    """sent: frames given to `send`; dropped: those that newer ones replaced, here or on the server. pictures,
    unchanged: answers that came. frames_per_second: as the server measures it, 0 until there are two pictures."""

    sent: int = 0
    dropped: int = 0
    pictures: int = 0
    unchanged: int = 0
    frames_per_second: float = 0.0


class LiveSession:
    """A live session. Made by `Client.live`; a context manager that closes itself. Any thread may call anything."""

    def __init__(self, connection: Connection, settings: Live, max_message_bytes: int) -> None:
        self._connection = connection
        self._max_bytes = max_message_bytes - _HEADROOM_BYTES
        self._wanted = settings
        # One lock; each thread is woken by what it waits for alone.
        self._changed = threading.RLock()
        self._to_send, self._arrived, self._over = (
            threading.Condition(self._changed) for _ in range(3)
        )
        self._canvas: Pixels | None = None
        self._news = True
        self._number = 0
        self._figures = LiveFigures()
        self._dropped_here = 0
        self._settings: LiveSettings | None = None
        self._picture: LivePicture | None = None
        self._given = 0
        self._message = ""
        self._error: ScumbleError | None = None
        self._closed = False
        self._check()
        self._thread = threading.Thread(target=self._receive, name="scumble-live", daemon=True)
        self._thread.start()

    def __enter__(self) -> LiveSession:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def figures(self) -> LiveFigures:
        """How it goes."""
        with self._changed:
            return self._figures

    @property
    def waiting(self) -> str:
        """Why the newest picture takes so long, for people; "" while nothing holds it up."""
        with self._changed:
            return self._message

    def send(self, pixels: Pixels) -> int:
        """The canvas is this now; returns its frame number at once. One that was not sent yet is dropped.

        The pixels are not copied: leave them as they are. Raises InvalidRequest for too many of them, and whatever
        ended the session.
        """
        if pixels.view.nbytes > self._max_bytes:
            raise InvalidRequest.about(
                "canvas",
                f"The canvas has {pixels.view.nbytes} bytes, and one message to this server may have "
                f"{self._max_bytes}; send a smaller one.",
            )
        with self._changed:
            self._require_open()
            self._dropped_here += self._canvas is not None
            self._canvas = pixels
            self._number += 1
            self._figures = replace(self._figures, sent=self._figures.sent + 1)
            self._to_send.notify_all()
            return self._number

    def change(self, **changes: Any) -> None:
        """Changes fields of `Live`, such as prompt and strength; the next picture follows them.

        Raises InvalidRequest for a field that there is none of, and whatever ended the session.
        """
        with self._changed:
            self._require_open()
            before = self._wanted
            try:
                self._wanted = replace(before, **changes)
            except TypeError as error:
                raise InvalidRequest(f"Live painting has no such setting: {error}.") from error
            try:
                self._check()
            except BaseException:
                self._wanted = before
                raise
            self._news = True
            self._number += 1
            self._to_send.notify_all()

    def latest(self, timeout: float | None = None) -> LivePicture | None:
        """Waits for a picture that is newer than the last one given out; None after `timeout` seconds.

        Raises whatever ended the session, once its last picture has been given out.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        with self._changed:
            while self._picture is None or self._given == self._count:
                self._require_open()
                left = None if deadline is None else deadline - time.monotonic()
                if left is not None and left <= 0:
                    return None
                self._arrived.wait(left)
            self._given = self._count
            return self._picture

    def close(self) -> None:
        """Ends the session; the server has its device back at once."""
        with self._changed:
            self._closed = True
            self._tell_all()
        if threading.current_thread() is not self._thread:
            self._thread.join(_CLOSE_SECONDS)

    @property
    def _count(self) -> int:
        return self._figures.pictures + self._figures.unchanged

    def _require_open(self) -> None:
        if self._error is not None:
            raise self._error
        if self._closed:
            raise Unavailable("This live session is closed; open another one.")

    def _check(self) -> None:
        """Raises InvalidRequest for what cannot be sent."""
        self._put_settings(live_service_pb2.PaintRequest())

    def _tell_all(self) -> None:
        for condition in (self._to_send, self._arrived, self._over):
            condition.notify_all()

    # --- threads

    def _requests(self) -> Iterator[Frame]:
        """On a thread of grpc's, which asks for the next one when the last one is on its way."""
        while True:
            with self._changed:
                while not (self._canvas or self._news or self._closed or self._error):
                    self._to_send.wait()
                if self._closed or self._error:
                    return
                message = live_service_pb2.PaintRequest(frame_number=self._number)
                if self._news:
                    self._put_settings(message)
                canvas, self._canvas, self._news = self._canvas, None, False
            if canvas is not None:
                message.canvas.header.CopyFrom(header_to_message(canvas))
            yield Frame(message, None if canvas is None else canvas.view)

    def _put_settings(self, message: live_service_pb2.PaintRequest) -> None:
        wanted = self._wanted
        message.parameters.CopyFrom(parameters_to_message(wanted, _no_images))
        message.strength = wanted.strength
        message.skip_below = wanted.skip_below
        if wanted.extent is not None:
            message.extent.CopyFrom(extent_to_message(Extent(*wanted.extent)))

    def _receive(self) -> None:
        error: ScumbleError | None = None
        try:
            with self._connection.stream(
                self._connection.paint, self._requests(), Answer, None
            ) as responses:
                closer = threading.Thread(
                    target=self._cancel_when_closed, args=(responses,), daemon=True
                )
                closer.start()
                for response in responses:
                    self._take(response)
        except ScumbleError as failure:
            error = failure
        except Exception as failure:  # noqa: BLE001 - a thread of ours has nobody else to tell
            error = ScumbleError(f"The live session broke: {type(failure).__name__}: {failure}.")
        with self._changed:
            if not self._closed:
                self._error = error or Unavailable(
                    "The server ended the live session; open another one."
                )
            self._tell_all()

    def _cancel_when_closed(self, responses: Any) -> None:
        with self._changed:
            while not (self._closed or self._error):
                self._over.wait()
        responses.cancel()

    def _take(self, answer: Answer) -> None:
        response, pixels = answer.message, None
        if response.HasField("image"):
            pixels = pixels_from_message(response.image.header, answer.samples)
        with self._changed:
            if response.HasField("settings"):
                self._settings = _settings(response.settings)
            self._message = response.message if response.waiting else ""
            figures = self._figures
            if pixels is not None and self._settings is not None:
                self._picture = LivePicture(
                    pixels,
                    response.frame_number,
                    _seconds(response.latency),
                    _seconds(response.painting),
                    self._settings,
                )
                figures = replace(figures, pictures=figures.pictures + 1)
            elif response.skipped and self._picture is not None:
                self._picture = replace(
                    self._picture,
                    frame_number=response.frame_number,
                    latency=_seconds(response.latency),
                    painting=0.0,
                    unchanged=True,
                )
                figures = replace(figures, unchanged=figures.unchanged + 1)
            self._figures = replace(
                figures,
                dropped=response.frames_dropped + self._dropped_here,
                frames_per_second=response.frames_per_second,
            )
            self._arrived.notify_all()


def _no_images(image: ImageLike) -> image_pb2.ImageSource:
    raise InvalidRequest.about(
        "control_images", "Live painting takes no control or reference images; leave them out."
    )


def _settings(message: live_service_pb2.LiveSettings) -> LiveSettings:
    return LiveSettings(
        model=message.model,
        num_inference_steps=message.num_inference_steps,
        strength=shortest(message.strength),
        guidance_scale=shortest(message.guidance_scale),
        scheduler=message.scheduler,
        seed=message.seed,
        model_extent=extent_from_message(message.model_extent),
        few_step=message.few_step,
        notes=tuple(message.notes),
    )


def _seconds(duration: Any) -> float:
    return float(duration.seconds + duration.nanos / 1e9)
