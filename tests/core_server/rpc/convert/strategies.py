"""Everything that may be asked for, for hypothesis."""

from __future__ import annotations

import msgspec
from hypothesis import strategies as st

from core_server.canvas.geometry import Bounds, Extent
from core_server.canvas.plan import (
    CanvasIntent,
    CanvasOptions,
    CanvasPlan,
    FillMode,
    ModelSizing,
    SeamlessAxes,
)
from core_server.pipelines.request import (
    Adapter,
    AdapterKind,
    ControlImage,
    ControlKind,
    DenoiserPrecision,
    ImageToImage,
    Inpaint,
    MaterialMaps,
    Outpaint,
    Parameters,
    Project,
    ReferenceImage,
    Request,
    StructureStart,
    TextToImage,
    Texture,
    Upscale,
)

SIDES = st.integers(1, 4096)
EXTENTS = st.builds(Extent, SIDES, SIDES)
SMALL = st.integers(0, 512) | st.none()
OPTIONS = st.builds(
    CanvasOptions,
    intent=st.sampled_from(CanvasIntent),
    fill=st.sampled_from(FillMode),
    exact_selection=st.booleans(),
    grow=SMALL,
    feather=SMALL,
    padding=SMALL,
    seamless=st.sampled_from(SeamlessAxes),
    color_match=st.sampled_from([None, 0.0, 0.35, 1.0]),
    passes=st.sampled_from([None, 1, 2]),
)


@st.composite
def nested(draw: st.DrawFn) -> tuple[Bounds, Bounds, Bounds, Extent]:
    """selection in mask in context in document."""
    document = draw(EXTENTS)
    chain = [Bounds(0, 0, *document)]
    for _ in range(3):
        outer = chain[-1]
        x = draw(st.integers(outer.x, outer.right - 1))
        y = draw(st.integers(outer.y, outer.bottom - 1))
        width = draw(st.integers(1, outer.right - x))
        height = draw(st.integers(1, outer.bottom - y))
        chain.append(Bounds(x, y, width, height))
    _, context, mask, selection = chain
    return selection, mask, context, document


@st.composite
def plans(draw: st.DrawFn) -> CanvasPlan:
    selection, mask, context, document = draw(nested())
    edge = st.integers(0, 512)
    two = draw(st.booleans())
    return CanvasPlan(
        document=document,
        selection=selection,
        mask=mask,
        context=context,
        model=draw(EXTENTS),
        grow=draw(edge),
        feather=draw(edge),
        blend=draw(edge),
        exact_selection=draw(st.booleans()),
        fill=draw(st.sampled_from(FillMode)),
        intent=draw(st.sampled_from(CanvasIntent)),
        passes=2 if two else 1,
        seamless=draw(st.sampled_from(SeamlessAxes)),
        padding=draw(edge),
        sizing=draw(st.sampled_from(ModelSizing)),
        max_model_pixels=draw(st.integers(0, 2**40)),
        refine=mask if two else None,
        refine_model=draw(EXTENTS) if two else None,
        refine_strength=draw(st.sampled_from([0.4, 0.07, 1.0])) if two else 0.0,
        color_match=draw(st.sampled_from([0.0, 0.35, 1.0])),
    )


replaced = msgspec.structs.replace
IDS = st.text("0123456789abcdef", min_size=64, max_size=64)
WEIGHTS = st.integers(0, 100).map(lambda it: it / 100)
PARAMETERS = st.builds(
    Parameters,
    prompt=st.text(min_size=1, max_size=40).filter(str.strip),
    negative_prompt=st.text(max_size=40),
    model=st.text(max_size=40),
    num_inference_steps=st.integers(1, 1000) | st.none(),
    guidance_scale=st.integers(0, 500).map(lambda it: it / 10) | st.none(),
    scheduler=st.text(max_size=40),
    seed=st.integers(0, 2**64 - 1),
    count=st.integers(1, 16),
    seamless=st.sampled_from([SeamlessAxes.NONE, *SeamlessAxes]),
    adapters=st.lists(
        st.builds(
            Adapter,
            kind=st.sampled_from(AdapterKind),
            name=st.text(min_size=1, max_size=9).filter(str.strip),
            weight=st.integers(-200, 200).map(lambda it: it / 100),
        ),
        max_size=2,
    ).map(tuple),
    control_images=st.lists(
        st.builds(ControlImage, kind=st.sampled_from(ControlKind), image=IDS, weight=WEIGHTS),
        max_size=2,
    ).map(tuple),
    reference_images=st.lists(st.builds(ReferenceImage, image=IDS, weight=WEIGHTS), max_size=2).map(
        tuple
    ),
    style=st.text(max_size=9),
    structure=st.sampled_from(StructureStart),
    few_step=st.booleans() | st.none(),
    guidance_end=st.sampled_from([1.0, 0.8, 0.25]),
    block_cache=st.sampled_from([0.0, 0.08, 1.0]),
    denoiser_precision=st.sampled_from([None, *DenoiserPrecision]),
)
STRENGTHS = st.integers(1, 100).map(lambda it: it / 100)
REQUESTS: st.SearchStrategy[Request] = st.one_of(
    st.builds(TextToImage, parameters=PARAMETERS, extent=EXTENTS),
    st.builds(ImageToImage, parameters=PARAMETERS, image=IDS, strength=STRENGTHS),
    st.builds(
        Inpaint,
        parameters=PARAMETERS,
        image=IDS,
        selection=IDS,
        strength=STRENGTHS,
        plan=plans() | st.none(),
        options=OPTIONS,
    ),
    st.builds(
        Texture,
        parameters=PARAMETERS,
        extent=EXTENTS,
        maps=st.sampled_from([(), ("base_color",), ("base_color", "normal", "height")]),
        height_dtype=st.sampled_from(("uint8", "uint16")),
    ),
    st.builds(
        Outpaint,
        parameters=PARAMETERS,
        image=IDS,
        left=SMALL.map(lambda it: it or 0),
        right=st.integers(1, 4096),
        strength=STRENGTHS,
        fill=st.sampled_from(FillMode),
    ),
    st.builds(
        MaterialMaps,
        parameters=PARAMETERS,
        image=IDS,
        maps=st.sampled_from([(), ("roughness",)]),
        height_dtype=st.sampled_from(("uint8", "uint16")),
    ),
    st.builds(
        MaterialMaps,
        parameters=PARAMETERS.map(lambda it: replaced(it, seamless=SeamlessAxes.NONE)),
        image=IDS,
        axes_from_picture=st.just(True),
    ),
    st.builds(
        Upscale,
        parameters=PARAMETERS,
        image=IDS,
        factor=st.sampled_from((2, 4)),
        strength=STRENGTHS | st.just(0.0),
    ),
    st.builds(
        Project,
        parameters=PARAMETERS,
        depth=IDS,
        image=IDS | st.none(),
        normals=IDS | st.none(),
        mask=IDS | st.none(),
        strength=STRENGTHS,
    ),
)
