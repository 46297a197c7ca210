"""Everything that can go wrong on Photoshop's side, in one tree. The server's side is `scumble.client.errors`.

PhotoshopError                  the message is a sentence an artist can act on
├── PhotoshopUnavailable        nothing was changed
│   ├── NotWindows              this computer cannot run the COM interface
│   ├── NotInstalled            photoshop-python-api is missing
│   ├── NotRunning              Photoshop is not open; Scumble never starts it
│   ├── CannotConnect           Photoshop is open but does not let us in
│   └── Busy                    a dialog, a transform or a long command is open
├── ConnectionLost              Photoshop went away in the middle of a call
├── DocumentRefused             code: the document cannot be worked on as it is; nothing was changed
└── ScriptFailed                Photoshop refused a command; everything was put back
"""

from __future__ import annotations


class PhotoshopError(Exception):
    """Base of the tree."""


class PhotoshopUnavailable(PhotoshopError):
    """Photoshop cannot be reached; nothing was changed."""


class NotWindows(PhotoshopUnavailable):
    """This computer cannot run Photoshop's COM interface."""

    def __init__(self) -> None:
        super().__init__(
            "The Photoshop plugin talks to Photoshop through COM, which only Windows has. Run it on the Windows "
            "computer that Photoshop is open on."
        )


class NotInstalled(PhotoshopUnavailable):
    """photoshop-python-api is missing."""

    def __init__(self) -> None:
        super().__init__(
            "photoshop-python-api is not installed in this Python. In the folder of Scumble, run: "
            'pip install ".[photoshop]"'
        )


class NotRunning(PhotoshopUnavailable):
    """Photoshop is not open."""

    def __init__(self) -> None:
        super().__init__("Photoshop is not running. Start it, open a picture, and try again.")


class CannotConnect(PhotoshopUnavailable):
    """Photoshop is open but does not let us in."""

    def __init__(self) -> None:
        super().__init__(
            "Photoshop is running but does not accept the connection. Start both as the same user, neither of them "
            "as administrator; with several versions installed, set PS_VERSION to the year of the running one."
        )


class Busy(PhotoshopUnavailable):
    """A dialog, a transform or a long command is open in Photoshop."""

    def __init__(self, seconds: float) -> None:
        super().__init__(
            f"Photoshop was busy for {seconds:.0f} s: a dialog, a transform or a long command is open there. "
            "Finish it and try again."
        )


class ConnectionLost(PhotoshopError):
    """Photoshop went away in the middle of a call."""

    def __init__(self) -> None:
        super().__init__(
            "The connection to Photoshop broke in the middle of a command; it may have crashed or been closed. "
            "Look at the document before trying again."
        )


_REFUSALS = {
    "no_document": "No document is open in Photoshop. Open one and select the part to repaint.",
    "nothing_asked": "Nothing is selected and there is no prompt. Select the part to repaint, or say what to paint.",
    "no_prompt": "The prompt is empty. Say in a few words what to paint.",
    "no_selection": "Nothing is selected in Photoshop. Select the part to repaint, for instance with the lasso (L).",
    "selection_outside": (
        "What is selected lies wholly outside the canvas. Move the selection onto the picture, or deselect (Ctrl+D)."
    ),
    "quick_mask": (
        "The document is in Quick Mask mode, which live painting cannot read again and again. Press Q to leave it, "
        "then try again; Generate works in that mode."
    ),
    "document_closed": "The document was closed in the meantime, so the result has nowhere to go.",
    "document_resized": "The document was resized in the meantime, so the result would not fit its place.",
    "no_growth": "Nothing is added. Give the px to add on the left, at the top, on the right or at the bottom.",
    "not_transparent": "Nothing is transparent there. Make room with Image > Canvas Size, or say how much to add.",
    "layer_gone": "The layer that was active is gone, so it cannot be read. Choose a layer and try again.",
    "empty_layer": "The active layer is empty there. Choose a layer with something on it, or read what is visible.",
    "artboards": (
        "The merged copy of the document has another size, as may happen with artboards, and where it begins cannot be "
        "told; export the artboard to a document of its own first."
    ),
    "not_converted": "Photoshop could not convert a copy of the document to sRGB; the document is unchanged.",
    "unreadable": (
        "The file that Photoshop wrote into the folder for temporary files cannot be read: is that disk full? Make "
        "room and try again; the document is unchanged."
    ),
    "crop_failed": "Photoshop could not read the rectangle around the selection; the document is unchanged.",
    "patch_size": "Photoshop opened the result at another size than it was written; the document is unchanged.",
    "misplaced": "Photoshop did not put the layer at its exact place, so it was taken back; the document is unchanged.",
}


class DocumentRefused(PhotoshopError):
    """The document cannot be worked on as it is; nothing was changed. `code` is for programs."""

    def __init__(self, code: str, message: str = "") -> None:
        super().__init__(message or _REFUSALS[code])
        self.code = code

    @staticmethod
    def knows(code: str) -> bool:
        """Whether there is a sentence for the code."""
        return code in _REFUSALS


class ScriptFailed(PhotoshopError):
    """Photoshop refused a command. `detail` is its own text, in its own language."""

    def __init__(self, program: str, detail: str, line: int = 0) -> None:
        where = f"{program}, line {line}" if line else program
        super().__init__(f"Photoshop refused a command ({where}): {detail}")
        self.detail = detail
