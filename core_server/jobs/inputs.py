"""Whether the images of a request fit it and each other, told from their headers alone."""

from __future__ import annotations

from collections.abc import Mapping

from core_server.canvas.belonging import check_context, check_selection
from core_server.jobs.job import ImageHeader
from core_server.pipelines.request import Inpaint, Request, task_name


def check(request: Request, headers: Mapping[str, ImageHeader]) -> None:
    """Errors: InvalidRequest for a selection that is no mask, or of another size than its image or plan."""
    if not isinstance(request, Inpaint):
        return
    task = task_name(request)
    image, selection = headers[request.image], headers[request.selection]
    check_selection(image.extent, selection.extent, selection.channels, task)
    if request.plan is not None:
        check_context(image.extent, request.plan.context.extent, task)
