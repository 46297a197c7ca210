"""What PSD files cannot take, said before anything is painted."""

from __future__ import annotations

from photoshop_plugin.document import Document
from photoshop_plugin.errors import DocumentRefused
from photoshop_plugin.settings import Settings
from photoshop_plugin.task import Task, resolve

_NOTHING_SELECTED = ("no_selection", "nothing_asked")


def require_possible(document: Document, settings: Settings, *, is_srgb: bool) -> None:
    """is_srgb: the file has no profile, or that of sRGB. Errors: DocumentRefused."""
    try:
        task = resolve(settings.task, document, settings.prompt, settings.strength)
    except DocumentRefused as error:
        if error.code not in _NOTHING_SELECTED:
            raise
        raise DocumentRefused(
            "psd_no_selection",
            f"{document.name} has no saved selection. In Photoshop, select the part to repaint and use Select > Save "
            "Selection.",
        ) from error
    if task is Task.PATTERN:
        raise no_patterns()
    if task is Task.EXTEND and any(settings.sides):
        raise no_growth()
    if task is Task.LAYER and not is_srgb:
        raise not_srgb(document.name)


def no_patterns() -> DocumentRefused:
    """A pattern belongs to Photoshop."""
    return DocumentRefused("psd_pattern", "Patterns are Photoshop's own; a file has none.")


def no_growth() -> DocumentRefused:
    """The file's canvas stays as large as it is."""
    return DocumentRefused(
        "psd_grow", "The canvas of a file cannot be grown here; do it in Photoshop."
    )


def not_srgb(name: str) -> DocumentRefused:
    """An sRGB result for a file with another profile."""
    return DocumentRefused(
        "psd_profile",
        f"{name!r} has a colour profile that is not sRGB, and this result is sRGB; nothing here converts it. Use "
        "inpaint or restyle, or open the file in Photoshop.",
    )
