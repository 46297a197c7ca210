"""The thumbnail in the panel."""

from collections.abc import Sequence

import bpy
import bpy.utils.previews

from ..bridge.pictures import Thumbnail

_NAME = "generation"


class Preview:
    """One icon that follows the unfinished picture. Without a window there is nothing to show."""

    def __init__(self) -> None:
        self._collection = bpy.utils.previews.new()
        self._strip = bpy.utils.previews.new()
        self._shown = False

    @property
    def icon_id(self) -> int:
        """For `layout.template_icon`; 0 when there is nothing to show."""
        return self._collection[_NAME].icon_id if self._shown else 0

    def show(self, thumbnail: Thumbnail) -> None:
        """Takes a new look."""
        if bpy.app.background:
            return
        # Blender keeps the texture of an icon it has drawn; a new entry is drawn anew.
        self._collection.clear()
        _add(self._collection, _NAME, thumbnail)
        self._shown = True

    def clear(self) -> None:
        """Shows nothing."""
        self._shown = False

    def show_strip(self, thumbnails: Sequence[Thumbnail]) -> None:
        """Takes the variations to pick from."""
        if bpy.app.background:
            return
        self._strip.clear()
        for number, thumbnail in enumerate(thumbnails):
            _add(self._strip, str(number), thumbnail)

    def strip_icon_id(self, number: int) -> int:
        """For `layout.template_icon`; 0 when there is nothing to show."""
        return self._strip[str(number)].icon_id if str(number) in self._strip else 0

    def clear_strip(self) -> None:
        """Forgets the variations."""
        self._strip.clear()

    def close(self) -> None:
        """Gives the icons back."""
        self._shown = False
        bpy.utils.previews.remove(self._collection)
        bpy.utils.previews.remove(self._strip)


def _add(
    collection: bpy.utils.previews.ImagePreviewCollection, name: str, thumbnail: Thumbnail
) -> None:
    entry = collection.new(name)
    entry.image_size = (thumbnail.width, thumbnail.height)
    entry.image_pixels_float.foreach_set(thumbnail.rgba)
