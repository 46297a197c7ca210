"""PSD files as Photoshop saves them: layers, a merged picture, saved selections, profile and resolution."""

from __future__ import annotations

from pathlib import Path

from psd_tools import PSDImage
from psd_tools.constants import Resource
from psd_tools.psd.image_resources import AlphaNamesUnicode, ImageResource, ResoulutionInfo

from tests.fakes.photoshop.samples import Array


def write_psd(
    path: Path,
    picture: Array,
    saved: dict[str, Array] | None = None,
    *,
    icc: bytes = b"",
    resolution: float = 72.0,
) -> None:
    """picture: (height, width, 3), uint8 or uint16; saved: selections by name, (height, width), same type."""
    height, width = picture.shape[:2]
    psd = PSDImage.new("RGB", (width, height), depth=picture.dtype.itemsize * 8)  # type: ignore[arg-type]
    psd.create_pixel_layer_from_array(picture, name="Photo")
    psd._record.header.channels = 3 + len(saved or {})
    planes = [picture[..., k] for k in range(3)] + list((saved or {}).values())
    psd._record.image_data.set_data(
        [plane.astype(plane.dtype.newbyteorder(">")).tobytes() for plane in planes],
        psd._record.header,
    )
    resources = psd.image_resources
    if saved:
        resources[Resource.ALPHA_NAMES_UNICODE] = ImageResource(
            key=Resource.ALPHA_NAMES_UNICODE, data=AlphaNamesUnicode([f"{it}\0" for it in saved])
        )
    if icc:
        resources[Resource.ICC_PROFILE] = ImageResource(key=Resource.ICC_PROFILE, data=icc)
    fixed = round(resolution * 65536)
    resources[Resource.RESOLUTION_INFO] = ImageResource(
        key=Resource.RESOLUTION_INFO, data=ResoulutionInfo(fixed, 1, 1, fixed, 1, 1)
    )
    psd._updated = False  # the merged picture is as it is
    psd.save(path)
