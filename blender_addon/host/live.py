"""Live painting in Blender: reads the canvas now and then, and writes each picture into an image of its own.

The artist's image is only read. The pictures go into "NAME live", which an Image Editor beside the canvas shows, or the
materials in the canvas's place for as long as it runs.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

import bpy
import numpy as np

from ..bridge import connector
from ..bridge.errors import Refused
from ..bridge.live import LiveBridge, LiveResult, LiveWish, fitted
from ..bridge.pictures import Source
from ..bridge.request import Server
from . import images, windows

LIVE_KEY = "scumble_live"
"""Custom property of an image that is only the view of a live session; its value names the canvas."""
_LEAST_SECONDS = 0.1
_SHARE = 15
"""Reading the canvas takes one part in so many of the main thread's time, at most."""


class LivePainting:
    """The live session of this Blender; one at a time. Main thread only; nothing here waits."""

    def __init__(self) -> None:
        self.told = ""
        """How it goes, or why it ended; "" before the first session."""
        self.kept_image = ""
        """Name of the image that Keep made last."""
        self._bridge: LiveBridge | None = None
        self._wish: LiveWish | None = None
        self._canvas_uid = self._view_uid = 0
        self._on_object = self._lent_user = False
        self._read_at = self._read_every = 0.0
        self._keeping = self._open = False

    @property
    def wants_tick(self) -> bool:
        """Whether `tick` has something to do."""
        return self._open or self._keeping

    @property
    def running(self) -> bool:
        """Whether a session is open."""
        return self._bridge is not None and self._bridge.running

    @property
    def has_picture(self) -> bool:
        """Whether there is a picture to keep, of this session or the last one."""
        return self._bridge is not None and self._bridge.answered > 0

    @property
    def keeping(self) -> bool:
        """Whether a picture is being encoded for Keep."""
        return self._keeping

    @property
    def canvas(self) -> bpy.types.Image | None:
        """The image that is painted on, if it is still there."""
        return _image(self._canvas_uid)

    @property
    def view(self) -> bpy.types.Image | None:
        """The image that shows the pictures."""
        return _image(self._view_uid)

    def start(
        self, server: Server, canvas: bpy.types.Image, wish: LiveWish, *, on_object: bool
    ) -> bpy.types.Image:
        """Opens a session on the canvas and returns the image that will show its pictures. Raises Refused."""
        if canvas.source == "TILED":
            raise Refused(f"'{canvas.name}' has UDIM tiles: paint live on a single image.")
        if LIVE_KEY in canvas:
            raise Refused(
                f"'{canvas.name}' shows a live picture: choose the image '{canvas[LIVE_KEY]}' that you paint on."
            )
        first = self._read(canvas)
        self.end("")
        self._canvas_uid, self._wish, self._on_object = canvas.session_uid, wish, on_object
        self._bridge, self._open = LiveBridge(connector.connect, server, wish), True
        self._bridge.offer(first)
        self.told = "Connecting"
        return self._show(_thumbnail(first, wish.longest), canvas)

    def end(self, sentence: str) -> None:
        """Ends the session, if one runs. What showed its pictures on objects shows the canvas again; the last picture
        stays to be looked at, and to be kept."""
        if self._bridge is None:
            return
        if self._open:
            self.told, self._open = sentence, False
        self._bridge.stop()
        self._put_back()

    def close(self) -> None:
        """As `end`, and waits a moment for the threads; the last picture is forgotten."""
        bridge = self._bridge
        self.end("")
        self.forget()
        if bridge is not None:
            bridge.join()

    def forget(self) -> None:
        """Lets go of the last picture, of a session that has ended."""
        self._bridge, self._canvas_uid, self._view_uid = None, 0, 0
        self._keeping = self._open = False

    def keep(self) -> bool:
        """Begins to encode the newest picture; a later `tick` makes it an image. Whether there is one."""
        canvas = self.canvas
        name = canvas.name if canvas is not None else "Live"
        self._keeping = self._bridge is not None and self._bridge.keep(name)
        return self._keeping

    def offer_now(self) -> int:
        """Reads the canvas and hands it in, whether it is due or not; its number, for `answered`."""
        canvas = self.canvas
        if self._bridge is None or canvas is None:
            return 0
        return self._bridge.offer(self._read(canvas))

    def answered(self, number: int) -> bool:
        """Whether the picture of this canvas is there."""
        return self._bridge is not None and self._bridge.answered >= number

    def tick(self, wish: LiveWish) -> bool:
        """One turn: the settings as they are now go out, the canvas if it is due, and the newest picture comes in.
        Whether there is something new to see."""
        bridge = self._bridge
        if bridge is None:
            return False
        changed = self._take_kept(bridge)
        if not bridge.running:
            if self._open:
                self.end(bridge.error)
                changed = True
            return changed
        canvas = self.canvas
        if canvas is None or not canvas.size[0]:
            self.end("Live painting ended: its image is gone.")
            return True
        if wish != self._wish:
            self._wish = wish
            bridge.change(wish)
        if time.monotonic() - self._read_at > self._read_every and bridge.wants_canvas:
            bridge.offer(self._read(canvas))
        if (result := bridge.take()) is not None:
            self._show(result, canvas)
            changed = True
        changed |= self.told != bridge.told
        self.told = bridge.told
        return changed

    def _read(self, canvas: bpy.types.Image) -> Source:
        started = time.perf_counter()
        count = canvas.size[0] * canvas.size[1] * 4
        buffer = self._bridge.buffer(count) if self._bridge is not None else None
        source = images.read_source(canvas, buffer)
        self._read_every = max(_LEAST_SECONDS, _SHARE * (time.perf_counter() - started))
        self._read_at = time.monotonic()
        return source

    def _show(self, result: LiveResult, canvas: bpy.types.Image) -> bpy.types.Image:
        """Writes a picture into the image that shows them, which is made where there is none (any more)."""
        view = self.view
        if view is not None and view.is_float != canvas.is_float:
            bpy.data.images.remove(view)
            view = None
        if view is None:
            view = _new_view(canvas, result)
            self._view_uid = view.session_uid
        elif tuple(view.size) != (result.width, result.height):
            view.scale(result.width, result.height)
        view[LIVE_KEY] = canvas.name  # it may have been renamed
        view.pixels.foreach_set(result.flat)
        view.update()
        view.update_tag()
        if self._on_object:
            # While nothing else uses the canvas, saving would drop it.
            self._lent_user |= not canvas.use_fake_user
            canvas.use_fake_user = True
            for node in _nodes_showing(canvas):
                node.image = view
        windows.redraw_showing(view, materials=self._on_object)
        return view

    def _put_back(self) -> None:
        view, canvas = self.view, self.canvas
        if view is None or not self._on_object:
            return
        for node in _nodes_showing(view):
            node.image = canvas
        if self._lent_user and canvas is not None:
            canvas.use_fake_user = False
        self._lent_user = False
        windows.redraw_editors()

    def _take_kept(self, bridge: LiveBridge) -> bool:
        kept = bridge.take_kept()
        if kept is None:
            return False
        self._keeping = False
        canvas = self.canvas
        prompt = self._wish.prompt if self._wish is not None else ""
        made = (
            images.create_like(canvas, kept, prompt)
            if canvas is not None
            else images.create_image(kept, prompt)
        )
        made.use_fake_user = True  # nothing shows it yet, and saving would drop it
        self.kept_image = made.name
        return True


def clean_up() -> None:
    """Takes away what a file was saved with in the middle of a session: a view has no pixels any more."""
    for view in [image for image in bpy.data.images if LIVE_KEY in image and image.library is None]:
        canvas = bpy.data.images.get(view[LIVE_KEY])
        if canvas is not None:
            view.user_remap(canvas)
        bpy.data.images.remove(view)


def _new_view(canvas: bpy.types.Image, result: LiveResult) -> bpy.types.Image:
    view = bpy.data.images.new(
        f"{canvas.name} live",
        result.width,
        result.height,
        alpha=True,
        float_buffer=canvas.is_float,
        is_data=canvas.colorspace_settings.is_data,
    )
    view.colorspace_settings.name = canvas.colorspace_settings.name
    return view


def _thumbnail(source: Source, longest: int) -> LiveResult:
    """The canvas itself, until the first picture comes: every k-th pixel of it."""
    width, height = fitted(source.width, source.height, longest)
    rows = np.arange(height) * source.height // height
    columns = np.arange(width) * source.width // width
    flat = source.flat.reshape(source.height, source.width, 4)[rows][:, columns]
    return LiveResult(flat.ravel(), width, height)


def _image(uid: int) -> bpy.types.Image | None:
    return next((i for i in bpy.data.images if i.session_uid == uid), None) if uid else None


def _nodes_showing(image: bpy.types.Image) -> Iterator[bpy.types.ShaderNode]:
    for material in bpy.data.materials:
        if material.node_tree is None or material.library is not None:
            continue
        for node in material.node_tree.nodes:
            if node.type == "TEX_IMAGE" and node.image == image:
                yield node
