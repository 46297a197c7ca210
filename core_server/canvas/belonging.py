"""Whether the pictures of a request belong together, from their sizes alone: asked before a job is stored, and again
before it is painted. Standard library alone."""

from __future__ import annotations

from core_server.canvas.geometry import Extent
from core_server.errors import InvalidRequest


def check_selection(image: Extent, selection: Extent, channels: int, task: str = "inpaint") -> None:
    """A selection is one channel, as large as its image. Errors: InvalidRequest."""
    if channels != 1:
        raise InvalidRequest(
            f"{task}.selection",
            f"The selection has {channels} channels; a selection has one, full scale where to repaint.",
            allowed="1 channel",
        )
    if selection != image:
        raise InvalidRequest(
            f"{task}.selection",
            f"The selection is {_told(selection)} and the image {_told(image)}; they must be equally large.",
            allowed=_told(image),
        )


def check_context(image: Extent, context: Extent, task: str = "inpaint") -> None:
    """With a plan the image is that plan's context. Errors: InvalidRequest."""
    if image != context:
        raise InvalidRequest(
            f"{task}.image",
            f"The image is {_told(image)} and the plan's context {_told(context)}; send exactly the context.",
            allowed=_told(context),
        )


def _told(extent: Extent) -> str:
    return f"{extent.width} x {extent.height} px"
