"""Scumble's contract (`scumble.v1`) and its thin client (`scumble.client`)."""

__version__ = "0.1.0"
