"""The bridge's own errors; the client library's have a tree of their own. Each message is a sentence for people.

BridgeError
├── Busy              a generation is running already
├── ClientMissing     the client library, or what it needs, cannot be imported
└── CannotStart       the server could not be started from here
"""


class BridgeError(Exception):
    """Base of the tree."""


class Busy(BridgeError):
    """A generation is running already."""


class ClientMissing(BridgeError):
    """The client library, or what it needs, cannot be imported."""


class CannotStart(BridgeError):
    """The server could not be started from here."""
