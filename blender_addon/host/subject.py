"""The scene as triangles, modifiers applied, and the cameras that look at it."""

from __future__ import annotations

import bpy
import numpy as np

from ..bridge.bake import Subject
from ..bridge.errors import Refused
from ..bridge.views import View
from . import active

_VIEWPORT_NEAR = 0.001


def gather(
    context: bpy.types.Context, target: bpy.types.Object | None, image: bpy.types.Image | None
) -> Subject:
    """All that is visible and has faces. The target's own faces carry the image; everything hides what is behind it.

    Without a target it is only the shape of the scene. Raises Refused where nothing is visible.
    """
    depsgraph = context.evaluated_depsgraph_get()
    triangles, uvs, mine, normals = [], [], [], []
    for instance in depsgraph.object_instances:
        thing = instance.object
        if thing.type not in ("MESH", "CURVE", "SURFACE", "FONT", "META"):
            continue
        is_target = not instance.is_instance and thing.original == target
        if not instance.show_self or (thing.display_type in ("BOUNDS", "WIRE") and not is_target):
            continue
        mesh = thing.to_mesh()
        if mesh is None:
            continue
        corners, uv, shows, turned = _mesh_arrays(mesh, thing, image if is_target else None)
        matrix = np.array(instance.matrix_world, np.float64)
        world = corners @ matrix[:3, :3].T + matrix[:3, 3]
        # Normals stay upright on scaled surfaces; a flat object has no inverse.
        turned = turned @ np.linalg.pinv(matrix[:3, :3])
        if (
            np.linalg.det(matrix[:3, :3]) < 0
        ):  # mirrored by a negative scale: outside must stay outside
            world, uv, turned = world[:, ::-1], uv[:, ::-1], turned[:, ::-1]
        triangles.append(world)
        uvs.append(uv)
        normals.append(turned)
        mine.append(shows)
        thing.to_mesh_clear()
    if not mine:
        raise Refused("Nothing is visible: the scene has no faces, or all of them are hidden.")
    if target is not None and not any(part.any() for part in mine):
        raise Refused(f"Nothing of '{target.name}' is visible: it is hidden or has no faces.")
    return Subject(
        np.concatenate(triangles),
        np.concatenate(uvs),
        np.concatenate(mine),
        np.concatenate(normals),
    )


def _mesh_arrays(
    mesh: bpy.types.Mesh, thing: bpy.types.Object, image: bpy.types.Image | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Corners, UV, whether it shows the image, and normals of the corners, of each triangle; object space."""
    mesh.calc_loop_triangles()
    count = len(mesh.loop_triangles)
    vertices = np.empty(len(mesh.vertices) * 3, np.float32)
    mesh.vertices.foreach_get("co", vertices)
    index = np.empty(count * 3, np.int32)
    mesh.loop_triangles.foreach_get("vertices", index)
    corners = vertices.reshape(-1, 3)[index.reshape(-1, 3)].astype(np.float64)
    loops, material = np.empty(count * 3, np.int32), np.empty(count, np.int32)
    mesh.loop_triangles.foreach_get("loops", loops)
    mesh.loop_triangles.foreach_get("material_index", material)
    flat_normals = np.empty(len(mesh.loops) * 3, np.float32)
    mesh.corner_normals.foreach_get("vector", flat_normals)
    normals = flat_normals.reshape(-1, 3)[loops.reshape(-1, 3)].astype(np.float64)
    uv = np.zeros((count, 3, 2))
    if image is None:
        return corners, uv, np.zeros(count, bool), normals
    layer = mesh.uv_layers.active
    if layer is None:
        raise Refused(f"'{thing.name}' has no UV map: unwrap it first (Edit Mode, U).")
    flat = np.empty(len(mesh.loops) * 2, np.float32)
    layer.uv.foreach_get("vector", flat)
    uv = flat.reshape(-1, 2)[loops.reshape(-1, 3)].astype(np.float64)
    uses = [active.shows(slot.material, image) for slot in thing.material_slots]
    if not any(uses):
        return corners, uv, np.ones(count, bool), normals
    return corners, uv, np.array(uses)[np.minimum(material, len(uses) - 1)], normals


def views(context: bpy.types.Context, source: str, longest: int) -> tuple[View, ...]:
    """The views the settings name. Raises Refused where there is none."""
    if source == "VIEWPORT":
        return (_viewport(context, longest),)
    if source == "CAMERAS":
        cameras = [o for o in context.selected_objects if o.type == "CAMERA"]
        cameras.sort(key=lambda camera: camera != context.scene.camera)
        if not cameras:
            raise Refused("No camera is selected: select those to project from, or choose Camera.")
    elif context.scene.camera is None:
        raise Refused("The scene has no camera: add one, or choose Viewport.")
    else:
        cameras = [context.scene.camera]
    return tuple(_camera(context, camera, longest) for camera in cameras)


def _camera(context: bpy.types.Context, camera: bpy.types.Object, longest: int) -> View:
    render = context.scene.render
    width, height = _fitted(
        render.resolution_x * render.pixel_aspect_x,
        render.resolution_y * render.pixel_aspect_y,
        longest,
    )
    depsgraph = context.evaluated_depsgraph_get()
    seen = camera.evaluated_get(depsgraph)
    if seen.data.type == "PANO":
        raise Refused(
            f"The camera '{camera.name}' is panoramic: choose Perspective or Orthographic."
        )
    projection = camera.calc_matrix_camera(depsgraph, x=width, y=height)
    # A camera's scale does not count.
    world = np.array(seen.matrix_world.normalized(), np.float64)
    return View(
        np.asarray(np.linalg.inv(world), np.float64),
        np.array(projection, np.float64),
        width,
        height,
        seen.data.clip_start,
    )


def viewport_area(context: bpy.types.Context) -> bpy.types.Area:
    """The 3D viewport the call comes from, else the first one. Raises Refused where there is none."""
    area = (
        next((a for a in context.screen.areas if a.type == "VIEW_3D"), None)
        if context.screen
        else None
    )
    if context.area is not None and context.area.type == "VIEW_3D":
        area = context.area
    if area is None:
        raise Refused("There is no 3D viewport to look from: open one, or choose Camera.")
    return area


def _viewport(context: bpy.types.Context, longest: int) -> View:
    area = viewport_area(context)
    region = next(r for r in area.regions if r.type == "WINDOW")
    view = area.spaces.active.region_3d
    width, height = _fitted(region.width, region.height, longest)
    return View(
        np.array(view.view_matrix, np.float64),
        np.array(view.window_matrix, np.float64),
        width,
        height,
        _VIEWPORT_NEAR,
    )


def _fitted(width: float, height: float, longest: int) -> tuple[int, int]:
    scale = longest / max(width, height)
    return max(1, round(width * scale)), max(1, round(height * scale))
