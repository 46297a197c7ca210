"""What is to be done with the document in front, guessed from its selection and the prompt and said before it runs."""

from __future__ import annotations

from enum import StrEnum

from photoshop_plugin.document import Document
from photoshop_plugin.errors import DocumentRefused


class Task(StrEnum):
    """The jobs of the panel and the command line."""

    AUTO = "auto"
    FILL = "fill"
    REMOVE = "remove"
    RESTYLE = "restyle"
    LAYER = "layer"
    EXTEND = "extend"
    UPSCALE = "upscale"
    PATTERN = "pattern"


TITLES = {
    Task.FILL: "Generative fill",
    Task.REMOVE: "Remove what is selected",
    Task.RESTYLE: "Repaint what is there",
    Task.LAYER: "New layer from the prompt",
    Task.EXTEND: "Extend the picture",
    Task.UPSCALE: "Enlarge into a new document",
    Task.PATTERN: "Seamless pattern",
}
"""For people, and the names of history steps."""


def resolve(task: Task, document: Document | None, prompt: str, strength: float) -> Task:
    """AUTO becomes a task; any other stays. strength: denoising strength, above 0 and at most 1.

    A selection and a prompt fill it, repainting what is there where the strength is below 1; a selection alone is
    removed; a prompt alone repaints the whole picture below strength 1 and makes a new layer at 1.
    Raises DocumentRefused where there is neither, or where the task needs what is not there. A pattern needs no
    document.
    """
    if task is Task.PATTERN:
        if not prompt.strip():
            raise DocumentRefused("no_prompt")
        return task
    if document is None:
        raise DocumentRefused("no_document")
    words, selected = bool(prompt.strip()), document.is_selected
    if task is Task.AUTO:
        if not words:
            if not selected:
                raise DocumentRefused("nothing_asked")
            task = Task.REMOVE
        elif strength < 1:
            task = Task.RESTYLE
        else:
            task = Task.FILL if selected else Task.LAYER
    if task in (Task.FILL, Task.REMOVE) and not selected:
        raise DocumentRefused("no_selection")
    if task in (Task.LAYER, Task.FILL) and not words:
        raise DocumentRefused("no_prompt")
    return task
