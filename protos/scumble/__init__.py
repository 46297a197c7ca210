"""Scumble's contract (`scumble.v1`) and its thin client (`scumble.client`)."""
