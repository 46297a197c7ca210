"""A server that paints nothing, one colour, or a known picture: generation replaced, so that projection alone is
measured."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from scumble.client import (
    Bounds,
    CanvasIntent,
    CanvasOptions,
    CanvasPlan,
    Extent,
    FillMode,
    Inpaint,
    InvalidRequest,
    Patch,
    Pixels,
)


class IdentityClient:
    """Plans the whole document as the context, and gives back what it was sent, a colour, or a picture.

    networks: the kinds of control it has; others are refused as the server does.
    """

    def __init__(
        self,
        color: tuple[int, int, int] | None = None,
        picture: NDArray[np.uint8] | None = None,
        networks: tuple[str, ...] = (),
    ) -> None:
        self.color = color if picture is None else picture
        self.networks = networks
        self.asked: list[Inpaint] = []

    def plan(self, document: Extent, selection: Bounds, **settings: Any) -> CanvasPlan:
        options: CanvasOptions = settings["options"]
        return CanvasPlan(
            document=document,
            selection=selection,
            mask=Bounds(0, 0, *document),
            context=Bounds(0, 0, *document),
            model=document,
            grow=0,
            feather=0,
            blend=0,
            exact_selection=True,
            fill=FillMode.NONE,
            intent=CanvasIntent.REFINE,
            passes=1,
            seamless=options.seamless,
        )

    def ask(self, request: Inpaint, part: int = 0, parts: int = 1) -> list[Patch]:
        self.asked.append(request)
        for image in request.control_images:
            if image.kind not in self.networks:
                raise InvalidRequest.about(
                    "parameters.control_images[0].kind",
                    f"No ControlNet for {image.kind} is installed that fits tiny.",
                )
        pixels = request.image
        assert isinstance(pixels, Pixels)
        if self.color is not None:
            array = np.empty_like(pixels.numpy())
            array[:] = self.color
            pixels = Pixels.from_numpy(array, pixels.color_space)
        mask = request.selection
        assert isinstance(mask, Pixels)
        assert request.plan is not None
        return [
            Patch(
                pixels=pixels,
                seed=1,
                recipe={"task": "inpaint"},
                bounds=request.plan.context,
                composite_mask=mask,
                plan=request.plan,
            )
        ]
