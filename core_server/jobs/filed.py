"""Pixels that stay in their file until somebody computes with them: they never pass through the gateway's memory."""

from __future__ import annotations

import msgspec
import numpy as np

from core_server.canvas.pixels import ColorSpace, Pixels
from core_server.config import Limits
from core_server.errors import ImageNotFound
from core_server.jobs import codec
from core_server.jobs.blobs import BlobStore
from core_server.jobs.job import ImageEncoding

_FILED = ("uint8", "uint16")
"""Sample types that need no look at every sample, as floats do."""


class FiledPixels(msgspec.Struct, frozen=True, kw_only=True):
    """RAW samples in a file on this machine, from `offset` bytes on. shape: (height, width, channels)."""

    image_id: str
    path: str
    offset: int
    shape: tuple[int, int, int]
    dtype: str
    color_space: ColorSpace
    icc_profile: bytes = b""

    def read(self) -> Pixels:
        """The pixels, in memory of their own. Errors: ImageNotFound for a file that is gone or cut."""
        array = np.empty(self.shape, np.dtype(self.dtype).newbyteorder("<"))
        left = array.data.cast("B")
        try:
            with open(self.path, "rb", buffering=0) as file:  # noqa: PTH123
                file.seek(self.offset)
                while left and (size := file.readinto(left)):
                    left = left[size:]
        except FileNotFoundError:
            raise ImageNotFound(self.image_id) from None
        if left:
            raise ImageNotFound(self.image_id)
        samples = array.astype(np.dtype(self.dtype), copy=False)
        return Pixels(samples, self.color_space, self.icc_profile)


def input_of(blobs: BlobStore, image_id: str, limits: Limits) -> Pixels | FiledPixels:
    """A stored image for a job: decoded, where it has to be. Errors: ImageNotFound, and as `codec.decode`."""
    header, path, offset = blobs.place(image_id)
    if header.encoding is not ImageEncoding.RAW or header.dtype not in _FILED:
        return codec.decode(*blobs.get(image_id), limits)
    codec.check_header(header, limits)
    width, height = header.extent
    return FiledPixels(
        image_id=image_id,
        path=str(path),
        offset=offset,
        shape=(height, width, header.channels),
        dtype=header.dtype,
        color_space=header.color_space,
        icc_profile=header.icc_profile,
    )
