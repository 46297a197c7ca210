"""Height, normal, roughness and ambient occlusion: of a picture as a task, and of a texture beside its base colour."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from core_server.canvas.colour import from_unit, to_model_rgb
from core_server.canvas.geometry import Extent
from core_server.canvas.pixels import ColorSpace, Pixels
from core_server.canvas.plan import SeamlessAxes
from core_server.canvas.seams import as_recipe, seams
from core_server.errors import FailedPrecondition, InvalidRequest
from core_server.pipelines.map_maker import MAP_NAMES, FloatArray, MapMaker
from core_server.pipelines.model import LoadedModel
from core_server.pipelines.recipe import RECIPE_VERSION, versions
from core_server.pipelines.request import MaterialMaps
from core_server.pipelines.task import StepCallback, StepProgress, TaskOutput

BASE_COLOR = "base_color"
MAX_SEAM_RATIO = 1.05
"""A picture whose opposite borders differ at most this many times as much as its two most different neighbouring rows
(or columns) do is taken for a tile. True for all tiles, and for one in seven pictures that do not tile."""


def material_maps(
    model: LoadedModel,
    request: MaterialMaps,
    images: Mapping[str, Pixels],
    on_step: StepCallback,
) -> list[TaskOutput]:
    """One output a map, in the size of the picture: uint8, height in `height_dtype`; NON_COLOR.

    Errors: InvalidRequest, FailedPrecondition without the network, ModelLoadFailed.
    """
    maker = required_maker(model)
    if BASE_COLOR in request.maps:
        raise InvalidRequest(
            "material_maps.maps",
            "The base colour is the picture itself; ask for other maps, or for none to get all.",
            allowed=", ".join(MAP_NAMES),
        )
    picture = images[request.image]
    image = to_model_rgb(picture)
    axes = request.parameters.seamless
    if request.axes_from_picture:
        axes = tiled_axes(image)
    recipe = {
        "recipe_version": RECIPE_VERSION,
        "task": "material_maps",
        "image": request.image,
        "extent": list(picture.extent),
        "seamless": axes.value,
        "maps_sha256": maker.sha256(),
        "device": str(maker.device),
        "versions": versions(),
        "notes": [],
    }
    names = request.maps or MAP_NAMES
    return map_outputs(
        maker,
        image,
        names,
        axes=axes,
        height_dtype=request.height_dtype,
        seed=request.parameters.seed,
        recipe=recipe,
        on_step=on_step,
    )


def required_maker(model: LoadedModel) -> MapMaker:
    """The network for maps. Errors: FailedPrecondition if there is none."""
    if model.map_maker is None:
        raise FailedPrecondition("This server has no network for material maps.")
    model.map_maker.require()
    return model.map_maker


def map_outputs(
    maker: MapMaker,
    image: FloatArray,
    names: Sequence[str],
    *,
    axes: SeamlessAxes,
    height_dtype: str,
    seed: int,
    recipe: Mapping[str, Any],
    on_step: StepCallback,
) -> list[TaskOutput]:
    """The maps `names` of a picture (height, width, 3) float32 sRGB 0..1, each with `recipe` and what is its own."""
    height, width = image.shape[:2]
    pieces = maker.passes(Extent(width, height), axes)
    done = 0

    def on_piece() -> None:
        nonlocal done
        done += 1
        on_step(StepProgress(done, pieces, "Making maps"))

    on_step(StepProgress(0, pieces, "Making maps"))
    maps = maker.make(image, axes, on_piece)
    outputs = []
    for name in dict.fromkeys(names):
        dtype = np.dtype(height_dtype if name == "height" else "uint8")
        array = np.ascontiguousarray(from_unit(maps[name], dtype))
        own = {"map": name, **CONVENTIONS.get(name, {}), **as_recipe(seams(array, axes))}
        outputs.append(
            TaskOutput(Pixels(array, ColorSpace.NON_COLOR), seed, {**recipe, **own}, map_name=name)
        )
    return outputs


CONVENTIONS: Mapping[str, Mapping[str, Any]] = {
    "normal": {"normal_convention": "opengl"},
    "height": {"mean_height": 0.5, "height_px_per_tile": [5, 256]},
}


def tiled_axes(image: FloatArray) -> SeamlessAxes:
    """The axes along which a picture (height, width, channels) seems to tile."""
    tiles = []
    for axis in (1, 0):
        other = tuple(i for i in range(3) if i != axis)
        inner = np.abs(np.diff(image, axis=axis)).mean(other)
        seam = np.abs(image.take(0, axis) - image.take(-1, axis)).mean()
        tiles.append(len(inner) > 0 and bool(seam <= MAX_SEAM_RATIO * inner.max()))
    return {
        (True, True): SeamlessAxes.XY,
        (True, False): SeamlessAxes.X,
        (False, True): SeamlessAxes.Y,
        (False, False): SeamlessAxes.NONE,
    }[tiles[0], tiles[1]]
