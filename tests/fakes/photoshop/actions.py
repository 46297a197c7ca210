"""Action Manager: the recorded commands that our programs send, and nothing else."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from tests.fakes.photoshop.channel import Channel, ChannelState
from tests.fakes.photoshop.objects import Fault

if TYPE_CHECKING:
    from tests.fakes.photoshop.application import Application

SAVE_SELECTION = [["putProperty", "channel", "selection"]]
LAYER_MASK = [["putEnumerated", "channel", "channel", "mask"]]
PATTERN = [["putClass", "pattern"]]
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
    else:
        raise Fault(f"this model has no event {event!r} with {descriptor}")
