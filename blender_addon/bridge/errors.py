"""The bridge's own errors; the client library's have a tree of their own. Each message is a sentence for people.

BridgeError
├── Busy              a generation is running already
├── ClientMissing     the client library, or what it needs, cannot be imported
├── CannotStart       the server could not be started from here
├── Refused           what was asked for cannot be done with this image, object or selection
└── Retired           the artist cancelled it; never shown
"""


class BridgeError(Exception):
    """Base of the tree."""


class Busy(BridgeError):
    """A generation is running already."""


class ClientMissing(BridgeError):
    """The client library, or what it needs, cannot be imported."""


class CannotStart(BridgeError):
    """The server could not be started from here."""


class Refused(BridgeError):
    """What was asked for cannot be done with this image, object or selection."""


class Retired(BridgeError):
    """The artist cancelled it; never shown."""
