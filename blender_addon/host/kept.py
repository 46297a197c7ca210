"""The pixels of the one image that was last written into, until the next one or another file."""

import bpy
import numpy as np

from ..bridge.pictures import FloatArray


class Kept:
    """Holds one image's old pixels, at 16 bytes a pixel."""

    def __init__(self) -> None:
        self._uid = 0
        self._flat: FloatArray = np.empty(0, np.float32)

    def keep(self, image: bpy.types.Image, spare: FloatArray | None = None) -> None:
        """Remembers an image as it is now. Tiled ones cannot be. spare: memory to use if it is of the right size, which
        halves the time."""
        self.forget()
        if image.source == "TILED":
            return
        count = image.size[0] * image.size[1] * 4
        fits = spare is not None and spare.size == count and spare.flags.writeable
        self._flat = spare if fits and spare is not None else np.empty(count, np.float32)
        image.pixels.foreach_get(self._flat)
        self._uid = image.session_uid

    def image(self) -> bpy.types.Image | None:
        """The image whose pixels are kept, if it is still there and of that size."""
        found = (
            next((i for i in bpy.data.images if i.session_uid == self._uid), None)
            if self._uid
            else None
        )
        fits = found is not None and found.size[0] * found.size[1] * 4 == len(self._flat)
        return found if fits else None

    def restore(self) -> str:
        """Writes the pixels back and forgets them; returns the image's name."""
        image = self.image()
        if image is None:
            raise RuntimeError("No pixels are kept")
        image.pixels.foreach_set(self._flat)
        image.update()
        image.pack()
        image.update_tag()
        self.forget()
        return str(image.name)

    def forget(self) -> None:
        """Lets go of them."""
        self._uid, self._flat = 0, np.empty(0, np.float32)
