"""Where a result goes: chosen when the artist pressed the button, done when the pictures are there."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import bpy

from ..bridge.errors import Refused
from ..bridge.pictures import Picture
from . import images, tiles


class Landing(Protocol):
    """Lays one variation's pictures into the file."""

    @property
    def title(self) -> str:
        """Names the undo step."""
        ...

    def overwritten(self) -> bpy.types.Image | None:
        """The image whose pixels will be written over, or None."""
        ...

    def lay(self, pictures: Sequence[Picture], prompt: str) -> tuple[list[bpy.types.Image], str]:
        """The images that were made or changed, and a sentence that says what was done. Raises Refused."""
        ...


@dataclass(frozen=True, slots=True)
class IntoImage:
    """The picture takes the place of an image, or is written into it."""

    image_uid: int
    into_itself: bool
    title: str = "Scumble: Repaint Image"

    def overwritten(self) -> bpy.types.Image | None:
        """See `Landing`."""
        return self._image() if self.into_itself else None

    def _image(self) -> bpy.types.Image | None:
        return next((i for i in bpy.data.images if i.session_uid == self.image_uid), None)

    def lay(self, pictures: Sequence[Picture], prompt: str) -> tuple[list[bpy.types.Image], str]:
        """See `Landing`. Where the image is gone by now, the result stands alone."""
        image = self._image()
        if image is None:
            made = [images.create_image(picture, prompt) for picture in pictures]
            return made, f"Made the image '{made[0].name}' only: the one it belongs to is gone."
        if self.into_itself and image.library is not None:
            raise Refused(
                f"The image '{image.name}' is linked from another file: choose New Image."
            )
        had_file = bool(image.filepath) and image.packed_file is None
        if pictures[0].tile:
            made_image = tiles.replace_tiles(image, pictures, into_itself=self.into_itself)
            images.sign(made_image, pictures[0], prompt)
        elif self.into_itself:
            images.overwrite(image, pictures[0], prompt)
            made_image = image
        else:
            made_image = images.create_like(image, pictures[0], prompt)
        if self.into_itself:
            return [
                image
            ], f"Repainted '{image.name}' itself.{_about_file(image, had_file=had_file)}"
        images.swap(image, made_image)
        return [
            made_image
        ], f"'{made_image.name}' took the place of '{image.name}', which stays in the file."


def _about_file(image: bpy.types.Image, *, had_file: bool) -> str:
    """Files of the artist are never written, whether or not they could be."""
    name = bpy.path.basename(image.filepath)
    return f" It is packed now; the file '{name}' stays as it was." if had_file and name else ""
