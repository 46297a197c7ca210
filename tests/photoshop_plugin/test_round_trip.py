"""Properties of the whole round trip, whatever the document: place, px outside the mask, one step, no trace else."""

from __future__ import annotations

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from photoshop_plugin.document import Source
from photoshop_plugin.flow import generate
from photoshop_plugin.host.photoshop import ComPhotoshop
from photoshop_plugin.settings import Settings
from scumble.client import Bounds, CanvasOptions, Pixels
from tests.fakes.photoshop import Application
from tests.fakes.photoshop.com import Com
from tests.fakes.photoshop.samples import COMPONENTS, full_scale, on_canvas
from tests.photoshop_plugin.scene import CHANGED, Seen, open_document
from tests.photoshop_plugin.scripted_server import ScriptedServer


def invert(image: Pixels) -> Pixels:
    """Another picture everywhere; transparency stays."""
    samples = image.numpy().copy()
    samples[..., :3] = full_scale(samples) - samples[..., :3]
    return Pixels.from_numpy(samples, image.color_space, image.icc_profile)


@st.composite
def boxes(draw: st.DrawFn) -> tuple[tuple[int, int], tuple[int, int, int, int]]:
    """A document size and a selection in it: 1 px, off-centre, at every border."""

    def span(limit: int) -> tuple[int, int]:
        start = draw(st.integers(0, limit - 1))
        return start, draw(st.integers(1, limit - start))

    size = draw(st.integers(1, 70)), draw(st.integers(1, 70))
    (x, width), (y, height) = span(size[0]), span(size[1])
    return size, (x, y, width, height)


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    layout=boxes(),
    kind=st.sampled_from(
        [
            ("RGB", "uint8"),
            ("RGB", "uint16"),
            ("RGB", "float32"),
            ("CMYK", "uint8"),
            ("LAB", "uint16"),
            ("GRAYSCALE", "uint8"),
        ]
    ),
    profile=st.sampled_from(["", "sRGB IEC61966-2.1", "Adobe RGB (1998)", "Display P3"]),
    resolution=st.sampled_from([72.0, 300.0, 240.5]),
    count=st.integers(1, 2),
    source=st.sampled_from([Source.MERGED, Source.BELOW]),
    reading=st.fixed_dictionaries(
        {
            "duplicates_land": st.sampled_from(["same", "centre"]),
            "duplicates_keep_selection": st.booleans(),
            "bounds_are_cut_by_mask": st.booleans(),
            "groups_land": st.sampled_from(["top", "active"]),
        }
    ),
)
def test_whatever_the_document(
    com: Com,
    host: ComPhotoshop,
    *,
    layout: tuple,
    kind: tuple[str, str],
    profile: str,
    resolution: float,
    count: int,
    source: Source,
    reading: dict,
) -> None:
    (mode, dtype), (size, box) = kind, layout
    com.running = Application(**reading)
    host._application._runner = None  # a new Photoshop each time
    document = open_document(
        com.running,
        size=size,
        selected=box,
        dtype=dtype,
        resolution=resolution,
        channels=COMPONENTS[mode],
        icc=profile.encode(),
        profile=profile if mode == "RGB" else f"{mode} {profile}" if profile else "",
        mode=mode,
    )
    document.active = document.stack[-1]
    document.step("Select Layer")
    before, server = Seen(document), ScriptedServer(invert)
    asked = Settings(
        prompt="x",
        count=count,
        source=source,
        strength=0.5,
        options=CanvasOptions(exact_selection=True),
    )
    placed = generate(host, server, asked)

    [(_, selection, _, _)] = server.asked
    assert selection == Bounds(*box)
    [request] = server.requests
    assert {layer.bounds for layer in placed} == {request.plan.context}
    chosen, after = before.facts["selection"], document.flatten()
    assert np.array_equal(after[chosen == 0], before.picture[chosen == 0])
    found = {layer.id: layer for layer in document.every_layer()}
    for layer in placed:
        state = found[layer.id]._state
        place = Bounds(state.x, state.y, state.pixels.shape[1], state.pixels.shape[0])
        assert place == request.plan.context
        mask = on_canvas(state.mask, state.mask_x, state.mask_y, size[1], size[0])
        assert np.array_equal(mask, chosen)
    if mode == "RGB":
        whole = chosen == full_scale(chosen)
        negative = full_scale(before.picture) - before.picture[..., :3]
        assert np.array_equal(after[whole][:, :3], negative[whole])
    assert before.differences(Seen(document), but=CHANGED) == []
    assert document.history[-2] is before.facts["history state"]
    document.activeHistoryState = document.history[-2]
    assert before.differences(Seen(document)) == []
