"""Whether the images of a request fit it and each other, told from their headers alone."""

from __future__ import annotations

from collections.abc import Mapping

from core_server.errors import InvalidRequest
from core_server.jobs.job import ImageHeader
from core_server.pipelines.request import Inpaint, Request, task_name


def check(request: Request, headers: Mapping[str, ImageHeader]) -> None:
    """Errors: InvalidRequest for a selection that is no mask, or of another size than its image or plan."""
    if not isinstance(request, Inpaint):
        return
    task = task_name(request)
    image, selection = headers[request.image], headers[request.selection]
    if selection.channels != 1:
        raise InvalidRequest(
            f"{task}.selection",
            f"The selection has {selection.channels} channels; a selection has one, full scale where to repaint.",
            allowed="1 channel",
        )
    if selection.extent != image.extent:
        raise InvalidRequest(
            f"{task}.selection",
            f"The selection is {_size(selection)} and the image {_size(image)}; they must be equally large.",
            allowed=_size(image),
        )
    if request.plan is not None and request.plan.context.extent != image.extent:
        width, height = request.plan.context.extent
        raise InvalidRequest(
            f"{task}.image",
            f"The image is {_size(image)} and the plan's context {width} x {height} px; send exactly the context.",
            allowed=f"{width} x {height} px",
        )


def _size(header: ImageHeader) -> str:
    return f"{header.extent.width} x {header.extent.height} px"
