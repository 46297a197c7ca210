"""What is left out means the same to client, command and server."""

from __future__ import annotations

import dataclasses

import msgspec
import pytest

import scumble.client
from core_server.commands import outpaint
from core_server.pipelines.request import ImageToImage, Inpaint, Outpaint, Upscale
from core_server.rpc.convert import generation


@pytest.mark.parametrize(
    ("ours", "theirs", "unset"),
    [
        (ImageToImage, scumble.client.ImageToImage, generation.IMAGE_TO_IMAGE_STRENGTH),
        (Inpaint, scumble.client.Inpaint, generation.INPAINT_STRENGTH),
        (Outpaint, scumble.client.Outpaint, generation.OUTPAINT_STRENGTH),
        (Upscale, scumble.client.Upscale, generation.UPSCALE_STRENGTH),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_strength_left_out_is_the_same_for_everybody(
    ours: type, theirs: type, unset: float
) -> None:
    [sent] = (field for field in msgspec.structs.fields(ours) if field.name == "strength")
    [client] = (field for field in dataclasses.fields(theirs) if field.name == "strength")
    assert sent.default == client.default == unset
    if ours is Outpaint:
        assert unset == outpaint.STRENGTH
