"""Action Manager: the recorded commands that our programs send, and nothing else."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from tests.fakes.photoshop import canvas
from tests.fakes.photoshop.channel import Channel, ChannelState
from tests.fakes.photoshop.layer import GroupState, LayerSet
from tests.fakes.photoshop.objects import Fault

if TYPE_CHECKING:
    from tests.fakes.photoshop.application import Application

SAVE_SELECTION = [["putProperty", "channel", "selection"]]
LAYER_MASK = [["putEnumerated", "channel", "channel", "mask"]]
PATTERN = [["putClass", "pattern"]]
SIDES = ("left", "top", "right", "bottom")
ARTBOARD = [["putClass", "artboardSection"]]
SELECTED_PART = [
    ["putProperty", "property", "selection"],
    ["putEnumerated", "document", "ordinal", "targetEnum"],
]


def execute(application: Application, event: str, descriptor: list[list[Any]]) -> None:
    """Runs an event on the front document. descriptor: [setter, key, value...] lists in the order they were put."""
    document = application.front
    if document is None:
        raise Fault(f'The command "{event}" is not currently available.')
    document.require_no_quick_mask()
    values = {key: value for _, key, *value in descriptor}
    if event == "duplicate" and values.get("null") == [SAVE_SELECTION]:
        # Select > Save Selection, as the ScriptListener plug-in records it.
        if document.selected is None:
            raise Fault('The command "Duplicate" is not currently available.')
        document.alphas.append(
            Channel(document, ChannelState(values["name"][0], document.selected))
        )
        document.step("Save Selection")
    elif event == "make" and values.get("new") == ["channel"] and values.get("at") == [LAYER_MASK]:
        # Layer > Layer Mask > Reveal Selection, recorded likewise; Photoshop drops the selection afterwards.
        layer = document.active
        if values["using"] != ["userMaskEnabled", "revealSelection"]:
            raise Fault(f"this model makes no mask from {values['using']}")
        if document.selected is None or layer.isBackgroundLayer:
            raise Fault('The command "Make" is not currently available.')
        layer._state = replace(layer._state, mask=document.selected, mask_x=0, mask_y=0)
        document.selected = None
        document.step("Add Layer Mask")
    elif event == "make" and values.get("null") == [PATTERN]:
        # Edit > Define Pattern, recorded likewise. A feathered selection, or none, makes it unavailable.
        chosen = document.selected
        if values["using"] != [SELECTED_PART] or chosen is None or len(np.unique(chosen)) != 1:
            raise Fault('The command "Make" is not currently available.')
        application.patterns[values["name"][0]] = document.flatten()
    elif event == "make" and values.get("null") == [ARTBOARD]:
        # Layer > New > Artboard, as script writers record it. The canvas grows to hold it (reported for artboards that
        # are made and moved; to the left and upwards, where coordinates change, is not modelled).
        _, using = values["using"]
        rectangle = {key: value for _, key, value in dict_of(using)["artboardRect"][1]}
        box = tuple(round(rectangle[side]) for side in SIDES)
        width, height = document.extent
        canvas.resize(document, max(width, box[2]), max(height, box[3]), "TOPLEFT")
        board = LayerSet(document, GroupState("Artboard 1", artboard=box))
        document.stack.insert(0, board)
        document.active = board
        document.step("New Artboard")
    else:
        raise Fault(f"this model has no event {event!r} with {descriptor}")


def dict_of(entries: list[list[Any]]) -> dict[str, list[Any]]:
    """A recorded descriptor by its keys."""
    return {key: value for _, key, *value in entries}


def look_up(application: Application, _: str, reference: list[list[Any]]) -> list[list[Any]]:
    """What is known of a layer: that it is an artboard, and where, counted from the canvas's corner (reported by script
    writers). Nested [key, value] lists."""
    document = application.front
    assert document is not None
    [(setter, kind, number)] = reference
    if (setter, kind) != ("putIdentifier", "layer"):
        raise Fault(f"this model looks up no {reference}")
    [layer] = [it for it in document.every_layer() if it.id == number]
    box = getattr(layer._state, "artboard", None)
    if box is None:
        return []
    rectangle = [[side, edge] for side, edge in zip(SIDES, box, strict=True)]
    return [["artboard", [["artboardRect", rectangle]]]]
