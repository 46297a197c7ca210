from __future__ import annotations

import msgspec
import pytest

from core_server.canvas.geometry import Bounds, Extent
from core_server.canvas.pixels import ColorSpace
from core_server.errors import InvalidRequest
from core_server.jobs import inputs
from core_server.jobs.job import ImageHeader
from core_server.pipelines.request import Inpaint
from tests.core_server.jobs.test_store import PARAMETERS, PLAN


def header(width: int, height: int, channels: int) -> ImageHeader:
    return ImageHeader(
        extent=Extent(width, height),
        channels=channels,
        dtype="uint8",
        color_space=ColorSpace.NON_COLOR,
    )


@pytest.mark.parametrize(
    ("image", "selection", "context", "field"),
    [
        pytest.param((64, 32, 4), (64, 32, 1), (64, 32), None, id="fits"),
        pytest.param((64, 32, 4), (64, 32, 1), None, None, id="no plan"),
        pytest.param((64, 32, 4), (32, 64, 1), None, "inpaint.selection", id="other size"),
        pytest.param((64, 32, 4), (64, 32, 4), None, "inpaint.selection", id="no mask"),
        pytest.param((64, 32, 4), (64, 32, 1), (64, 33), "inpaint.image", id="not the context"),
    ],
)
def test_images_that_belong_together(
    image: tuple[int, int, int],
    selection: tuple[int, int, int],
    context: tuple[int, int] | None,
    field: str | None,
) -> None:
    plan = context and msgspec.structs.replace(PLAN, context=Bounds(5, 5, *context))
    request = Inpaint(parameters=PARAMETERS, image="image", selection="selection", plan=plan)
    headers = {"image": header(*image), "selection": header(*selection)}
    if field is None:
        inputs.check(request, headers)
        return
    with pytest.raises(InvalidRequest) as caught:
        inputs.check(request, headers)
    assert caught.value.field == field
