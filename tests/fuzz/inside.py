"""Random files for the decoders, random documents for the planner: an answer, or InvalidRequest, and nothing else."""

from __future__ import annotations

import random
from collections import Counter

import numpy as np

from core_server.canvas.geometry import Bounds, Extent
from core_server.canvas.pixels import ColorSpace, Pixels
from core_server.canvas.plan import CanvasOptions
from core_server.canvas.planner import plan_canvas
from core_server.config import Limits
from core_server.errors import InvalidRequest
from core_server.jobs import codec
from core_server.jobs.job import ImageEncoding
from tests.fakes.runtime import _profile

LIMITS = Limits(max_pixels=1 << 20, max_side=4096)


def fuzz_decoders(cases: int, seed: int) -> Counter[str]:
    """Sound files of every format with some bytes changed, cut off, or put in twice."""
    chance = random.Random(seed)
    rng = np.random.default_rng(seed)
    sound = []
    for encoding in ImageEncoding:
        for dtype in ("uint8", "uint16", "float32"):
            for channels in (1, 3):
                array = rng.integers(0, 255, (13, 17, channels)).astype(dtype)
                pixels = Pixels(array, ColorSpace.SRGB)
                try:
                    sound.append(
                        (codec.header_of(pixels, encoding), codec.encode(pixels, encoding))
                    )
                except InvalidRequest:
                    continue
    told: Counter[str] = Counter()
    for _ in range(cases):
        header, payload = chance.choice(sound)
        data = bytearray(payload)
        for _ in range(chance.choice((1, 1, 2, 8, 40))):
            at = chance.randrange(max(len(data), 1))
            match chance.randrange(4):
                case 0:
                    data[at : at + 1] = bytes([chance.randrange(256)])
                case 1:
                    del data[at:]
                case 2:
                    data[at:at] = data[at : at + chance.randrange(1, 64)]
                case _:
                    data[at : at + 4] = chance.choice(
                        (b"\0\0\0\0", b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff")
                    )
            if not data:
                break
        try:
            codec.decode(header, bytes(data), LIMITS)
            told["decoded"] += 1
        except InvalidRequest:
            told["refused"] += 1
    return told


def fuzz_planner(cases: int, seed: int) -> Counter[str]:
    """Documents, selections and strengths of every size, also impossible ones; plans must cover the selection."""
    chance = random.Random(seed)
    profile, told = _profile("tiny"), Counter[str]()
    sizes = (0, 1, 2, 7, 8, 63, 64, 65, 511, 512, 513, 1024, 4095, 30000, -1)
    for _ in range(cases):
        document = Extent(chance.choice(sizes), chance.choice(sizes))
        x, y = (chance.choice((0, 1, 5, side // 2, side - 1, side, -1)) for side in document)
        size = [
            chance.choice((*sizes, side - at)) for side, at in zip(document, (x, y), strict=True)
        ]
        selection = Bounds(x, y, *size)
        strength = chance.choice((0.01, 0.3, 0.99, 1.0))
        try:
            plan = plan_canvas(document, selection, CanvasOptions(), strength, profile)
        except InvalidRequest:
            told["refused"] += 1
            continue
        told["planned"] += 1
        context = plan.context
        inside = context.x >= 0 and context.y >= 0
        inside &= context.x + context.width <= document.width
        inside &= context.y + context.height <= document.height
        if not inside:
            raise AssertionError(
                f"{document} {selection}: the context {context} leaves the document"
            )
    return told
