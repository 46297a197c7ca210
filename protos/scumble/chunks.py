"""Pieces of pictures as protobuf packs them, without its copies.

`UploadImageRequest` and `DownloadImageResponse` carry a piece in field 2, of type bytes. protobuf for Python copies it
three times on its way out (into a `bytes`, into the message, into the packed message) and twice on its way in; here it
is copied once, and not at all. What travels is the same, byte for byte.
Source: https://protobuf.dev/programming-guides/encoding/ (a field is a tag, a length and so many bytes).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing_extensions import Buffer

_TAG = 2 << 3 | 2
"""Field 2, its length ahead of it."""


def packed(piece: Buffer) -> bytes:
    """The message that has this piece, and nothing else, in field 2."""
    view = memoryview(piece).cast("B")
    head, left = bytearray((_TAG,)), len(view)
    while left > 0x7F:
        head.append(left & 0x7F | 0x80)
        left >>= 7
    head.append(left)
    return b"".join((head, view))


def unpacked(message: bytes) -> memoryview | None:
    """The piece of a packed message that has nothing else, not copied; None for all other messages."""
    if not message or message[0] != _TAG:
        return None
    size, at, shift = 0, 1, 0
    while at < len(message) and shift <= 28:
        byte = message[at]
        size |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte <= 0x7F:
            return memoryview(message)[at:] if at + size == len(message) else None
    return None
