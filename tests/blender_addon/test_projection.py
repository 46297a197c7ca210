"""Projection measured: a known texture goes through a view and comes back the same, and nothing lands where no camera
sees."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from blender_addon.bridge.bake import Subject, look_at
from blender_addon.bridge.errors import Refused
from blender_addon.bridge.projection import ProjectRequest
from blender_addon.bridge.sheets import Sheets
from blender_addon.bridge.texels import GRAZING, Texels, texels_seen
from blender_addon.bridge.views import View
from scumble.client import InvalidRequest
from tests.blender_addon.identity import IdentityClient
from tests.blender_addon.scenes import (
    SIDE,
    alone,
    behind_another,
    camera,
    cube,
    cylinder,
    noise,
    px_of_texel,
    sees,
    smooth,
    source,
    texel_points,
)

ONE = Sheets.of({0: (SIDE, SIDE)})
GRAY = np.full((SIDE, SIDE, 3), 128 / 255)

SCENES = [
    pytest.param(alone(cube()), camera((4.0, 2.5, 2.0)), id="cube"),
    pytest.param(alone(cube()), camera((4.0, 2.5, 2.0), ortho=True), id="cube without perspective"),
    pytest.param(alone(cylinder()), camera((5.0, 0.5, 1.0)), id="cylinder"),
    pytest.param(behind_another(), camera((5.0, 2.5, 2.0)), id="two overlapping objects"),
]


def seen_by(view: View, subject: Subject) -> Texels:
    return texels_seen(look_at(view, subject, ONE), subject, ONE)


def request(
    texture: np.ndarray, subject: Subject, *views: View, control: str = "none"
) -> ProjectRequest:
    return ProjectRequest("x", (source(texture),), subject, views, seed=1, control=control)


def paint(client: IdentityClient, wish: ProjectRequest) -> np.ndarray:
    """The baked texture, bytes, row 0 at the bottom."""
    (picture,) = wish.paint(client, client.ask)
    assert picture.png is not None
    return decoded(picture.png)


def decoded(png: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))[::-1]


def picture_of(texture: np.ndarray, subject: Subject, view: View) -> np.ndarray:
    """What a camera photographs of a texture: bytes, row 0 on top."""
    colors, _ = look_at(view, subject, ONE).colors(texture.reshape(-1, 3))
    return np.rint(colors[::-1] * 255).astype(np.uint8)


@pytest.mark.parametrize(("subject", "view"), SCENES)
def test_exactly_the_visible_texels(subject: Subject, view: View) -> None:
    points, owner = texel_points(subject)
    visible = np.isfinite(points[:, 0])
    normals = subject.flat_normals[owner[visible]]
    visible[visible] = view.facing(points[visible], normals) > GRAZING
    visible[visible] = sees(view, subject, points[visible])
    assert visible.sum() > 10_000
    assert np.array_equal(np.sort(seen_by(view, subject).place), np.flatnonzero(visible))


@pytest.mark.parametrize(("subject", "view"), SCENES)
def test_identity_keeps_every_bit_of_the_texture(subject: Subject, view: View) -> None:
    wish = request(noise(), subject, view)
    baked = paint(IdentityClient(), wish)
    islands = ONE.islands(subject.target_uv).reshape(SIDE, SIDE)
    assert islands.mean() > 0.5
    assert np.array_equal(baked[islands], np.rint(noise() * 255).astype(np.uint8)[islands])


@pytest.mark.parametrize(("subject", "view"), SCENES)
def test_a_photograph_of_a_texture_becomes_that_texture(subject: Subject, view: View) -> None:
    """The image is blank, and the model paints a picture of a known texture: within 2/255 on every texel that is
    painted wholly, and on every one that measures at least a px on the screen."""
    baked = paint(
        IdentityClient(picture=picture_of(smooth(), subject, view)), request(GRAY, subject, view)
    )
    texels = seen_by(view, subject)
    points, owner = texel_points(subject)
    resolved = px_of_texel(view, subject, points[texels.place], owner[texels.place]) >= 1
    off = np.abs(baked / 255 - smooth()).max(axis=2).ravel()[texels.place] * 255
    whole = (texels.amount == 1) & ~texels.guessed
    assert whole.sum() > 4000
    assert resolved.sum() > 4000
    assert off[whole].max() <= 2.01
    # The other texels keep some of the blank image; what would have been painted is as near.
    gave = picture_of(smooth(), subject, view)[::-1] / 255
    sampled = np.abs(texels.sample(gave) - smooth().reshape(-1, 3)[texels.place]).max(axis=1) * 255
    assert sampled[resolved].max() <= 2.01
    assert np.percentile(sampled, 98) <= 2


def test_detail_of_the_picture_is_not_blurred() -> None:
    """White noise, where a texel measures 1.5 px or more: resampling alone is off by 40 and more."""
    subject, view = alone(cube()), camera((4.0, 2.5, 2.0), 768, 600)
    photograph = picture_of(noise(), subject, view)
    baked = paint(IdentityClient(picture=photograph), request(GRAY, subject, view))
    texels = seen_by(view, subject)
    points, owner = texel_points(subject)
    clear = px_of_texel(view, subject, points[texels.place], owner[texels.place]) >= 1.5
    clear &= texels.amount == 1
    assert clear.sum() > 4000
    off = np.abs(baked / 255 - noise()).max(axis=2).ravel()[texels.place[clear]] * 255
    assert np.percentile(off, 98) <= 4
    assert off.max() <= 10
    resampled = texels.sample(photograph[::-1] / 255)
    before = np.abs(resampled - noise().reshape(-1, 3)[texels.place]).max(axis=1)[clear] * 255
    assert np.percentile(before, 98) > 40


@pytest.mark.parametrize(("subject", "view"), SCENES)
def test_nothing_lands_on_hidden_faces(subject: Subject, view: View) -> None:
    baked = paint(IdentityClient((255, 0, 0)), request(noise(), subject, view))
    changed = (baked != np.rint(noise() * 255)).any(axis=2).ravel()
    islands = ONE.islands(subject.target_uv)
    seen = np.zeros(SIDE * SIDE, bool)
    seen[seen_by(view, subject).place] = True
    assert not (changed & islands & ~seen).any()
    assert (changed & seen).sum() > 0.98 * seen.sum()


def test_a_coarse_view_shows_the_mean_of_its_texels() -> None:
    """A px that covers many texels takes several samples, and identity still changes nothing."""
    subject, view = alone(cube()), camera((4.0, 2.5, 2.0), 96, 80)
    look = look_at(view, subject, ONE)
    assert look.finer == 3
    colors, inside = look.colors(noise().reshape(-1, 3))
    assert colors[inside].std() < 0.6 * noise().std()
    islands = ONE.islands(subject.target_uv).reshape(SIDE, SIDE)
    baked = paint(IdentityClient(), request(noise(), subject, view))
    assert np.array_equal(baked[islands], np.rint(noise() * 255).astype(np.uint8)[islands])


def test_a_second_camera_paints_only_what_the_first_did_not_see() -> None:
    subject = alone(cube())
    front, back = camera((4.0, 2.5, 2.0)), camera((-4.0, -2.5, -2.0))
    client = IdentityClient((255, 0, 0))
    once = paint(client, request(GRAY, subject, front))
    twice = paint(client, request(GRAY, subject, front, back))
    red = (once == (255, 0, 0)).all(axis=2)
    assert 0.2 < red.mean() < 0.6
    islands = ONE.islands(subject.target_uv).reshape(SIDE, SIDE)
    assert np.array_equal(twice[red & islands], once[red & islands])
    assert (twice == (255, 0, 0)).all(axis=2).sum() > 1.7 * red.sum()
    asked = len(client.asked)
    paint(client, request(GRAY, subject, front, front))
    assert len(client.asked) == asked + 2, "the same camera again paints the slanted rest only"
    mask = client.asked[-1].selection.numpy()  # type: ignore[union-attr]
    assert (mask > 0).mean() < 0.1


def test_slanted_faces_fade_from_one_camera_to_the_next() -> None:
    """Where the first camera looks at a slant, the second takes over without a step."""
    subject = alone(cylinder(240))
    views = camera((5.0, 0.0, 0.5)), camera((0.0, 5.0, 0.5))
    client = IdentityClient((255, 0, 0))
    first = paint(client, request(GRAY, subject, views[0]))
    row = first[SIDE // 2, :, 0].astype(int)
    both = paint(client, request(GRAY, subject, *views))
    quarter = slice(0, SIDE // 4)
    assert ((row > 130) & (row < 250)).sum() > 8, "it fades out"
    assert np.abs(np.diff(row)).max() < 40
    assert (both[SIDE // 2, quarter, 0] >= 250).all()


def test_the_gutter_gets_the_edge_colour() -> None:
    subject = alone(cube())
    picture = paint(IdentityClient((255, 0, 0)), request(GRAY, subject, camera((5.0, 0.01, 0.01))))
    red = (picture == (255, 0, 0)).all(axis=2)
    # The face at +x has the cell from (0.353, 0.02) to (0.643, 0.48); 0.02 around it is gutter.
    assert red[5:122, 91:164].all()
    assert red[2:5, 100:150].all()
    assert not red[:, :80].any()
    assert not red[:, 175:].any()
    assert not red[133:248].any()  # a texture repeats: the gutter below goes on at the top


def test_udim_tiles_are_painted_each_where_it_is_seen() -> None:
    """The upper half of the atlas lies in tile 1012, the lower in 1001; 1002 is never reached."""
    triangles, uv = cube()
    moved = np.where(uv[..., 1:] > 0.5, uv + np.array([1.0, 1.0]), uv)
    subject = Subject(triangles, moved, np.ones(len(uv), bool))
    sources = tuple(source(noise(128), tile) for tile in (1001, 1002, 1012))
    view = camera((4.0, 2.5, 2.0))
    client = IdentityClient((255, 0, 0))
    pictures = ProjectRequest("x", sources, subject, (view,), seed=1).paint(client, client.ask)
    assert [picture.tile for picture in pictures] == [1001, 1012]
    single = paint(client, request(GRAY, subject, view))
    for picture in pictures:
        assert picture.png is not None
        red = (decoded(picture.png) == (255, 0, 0)).all(axis=2)
        islands = Sheets.of({picture.tile: (128, 128)}).islands(moved).reshape(128, 128)
        wanted = (single == (255, 0, 0)).all(axis=2)[::2, ::2]
        assert 500 < red[islands].sum() < 0.9 * islands.sum()
        assert (red == wanted)[islands].mean() > 0.97
    same = IdentityClient()
    for picture in ProjectRequest("x", sources, subject, (view,), seed=1).paint(same, same.ask):
        assert picture.png is not None
        islands = Sheets.of({picture.tile: (128, 128)}).islands(moved).reshape(128, 128)
        before = np.rint(noise(128) * 255).astype(np.uint8)
        assert np.array_equal(decoded(picture.png)[islands], before[islands])


@pytest.mark.parametrize(
    ("control", "networks", "sent", "noted"),
    [
        pytest.param("none", (), [], "", id="none"),
        pytest.param("depth", ("depth",), ["depth"], "", id="depth"),
        pytest.param("both", ("depth", "normal"), ["depth", "normal"], "", id="both"),
        pytest.param("auto", ("depth", "normal"), ["depth", "normal"], "", id="auto, has both"),
        pytest.param("auto", ("depth",), ["depth"], "without the normal", id="auto, has depth"),
        pytest.param("auto", (), [], "without the depth", id="auto, has none"),
        pytest.param("depth", (), None, "", id="refused"),
    ],
)
def test_depth_and_normals_go_along(
    control: str, networks: tuple[str, ...], sent: list[str] | None, noted: str
) -> None:
    client = IdentityClient((255, 0, 0), networks=networks)
    view = camera((4.0, 0.001, 0.001), 64, 64)
    wish = request(GRAY, alone(cube()), view, control=control)
    if sent is None:
        with pytest.raises(InvalidRequest, match="No ControlNet for depth"):
            wish.paint(client, client.ask)
        return
    (picture,) = wish.paint(client, client.ask)
    images = {image.kind: image.image for image in client.asked[-1].control_images}
    assert list(images) == sent
    assert noted in " ".join(picture.notes)
    for kind, image in images.items():
        # The face at +x looks straight into the camera.
        middle = image.numpy()[32, 32].tolist()  # type: ignore[union-attr]
        wanted = [255, 255, 255] if kind == "depth" else [128, 128, 255]
        assert np.abs(np.subtract(middle, wanted)).max() <= 2


def test_a_camera_that_sees_nothing_says_so() -> None:
    away = alone((cube()[0] + np.array([100.0, 100.0, 0.0]), cube()[1]))
    client = IdentityClient()
    with pytest.raises(Refused, match="sees nothing of the object"):
        request(GRAY, away, camera((4.0, 2.5, 2.0))).paint(client, client.ask)


def test_a_camera_inside_is_cut_at_the_near_plane() -> None:
    triangles, uv = cube()
    inside_out = Subject(triangles[:, ::-1], uv[:, ::-1], np.ones(len(triangles), bool))
    view = camera((0.5, 0.2, 0.1))
    look = look_at(view, inside_out, ONE)
    colors, covered = look.colors(smooth().reshape(-1, 3))
    assert covered.all()
    texels = texels_seen(look, inside_out, ONE)
    wanted = smooth().reshape(-1, 3)[texels.place]
    assert np.abs(texels.sample(colors) - wanted).max() <= 2 / 255


def test_bilinear_at_texel_centres_is_the_texel() -> None:
    y, x = np.mgrid[0:5, 0:7]
    uv = np.stack([(x + 0.5) / 7, (y + 0.5) / 5], axis=2).reshape(-1, 2)
    places, shares, found = Sheets.of({0: (7, 5)}).taps(uv)
    assert found.all()
    assert np.array_equal(places[:, 0], np.arange(35))
    assert np.allclose(shares[:, 0], 1, atol=1e-6)
