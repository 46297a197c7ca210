"""Frames of a live session as protobuf packs them, without its copies.

`PaintRequest` and `PaintResponse` carry a picture in a field of type `ImageData`, whose field 2 holds the samples.
protobuf for Python copies those twice on each way through it. Here they are written behind the rest of the message, as
a second part of the same field, which every reader of protobuf merges with the first; and what was read is looked at
where it lies.
Source: https://protobuf.dev/programming-guides/encoding/ ("Last One Wins": embedded messages are merged).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing_extensions import Buffer

_VARINT, _I64, _LEN, _I32 = 0, 1, 2, 5
_SAMPLES = 2
LEAST_BYTES = 16 * 1024
"""Fewer samples are not worth looking for."""


def packed(message: bytes, field: int, samples: Buffer) -> bytes:
    """The packed `message` with these samples in its picture, which is field number `field`."""
    view = memoryview(samples).cast("B")
    inner = _number(_SAMPLES << 3 | _LEN) + _number(len(view))
    outer = _number(field << 3 | _LEN) + _number(len(inner) + len(view))
    return b"".join((message, outer, inner, view))


def unpacked(data: bytes, field: int) -> tuple[bytes, memoryview] | None:
    """The packed message without the samples of its picture, and those, not copied.

    None where there are too few of them, more than one lot of them, or where the message is not understood: then it is
    for protobuf to read.
    """
    if len(data) < LEAST_BYTES:
        return None
    try:
        pictures = [(at, end) for number, at, end in _fields(data, 0, len(data)) if number == field]
        found = [
            (at, start, stop, end)
            for at, end in pictures
            for number, start, stop in _fields(data, _inside(data, at), end)
            if number == _SAMPLES
        ]
    except ValueError:
        return None
    if len(found) != 1:
        return None
    at, start, stop, end = found[0]
    samples = memoryview(data)[_inside(data, start) : stop]
    if len(samples) < LEAST_BYTES:
        return None
    left = data[_inside(data, at) : start] + data[stop:end]
    picture = _number(field << 3 | _LEN) + _number(len(left)) + left
    return data[:at] + picture + data[end:], samples


def _fields(data: bytes, at: int, end: int) -> list[tuple[int, int, int]]:
    """(number, where it begins, where it ends) of each field between at and end. Raises ValueError."""
    found = []
    while at < end:
        start = at
        tag, at = _read(data, at)
        kind = tag & 7
        if kind == _VARINT:
            _, at = _read(data, at)
        elif kind == _LEN:
            size, at = _read(data, at)
            at += size
        elif kind in (_I64, _I32):
            at += 8 if kind == _I64 else 4
        else:
            raise ValueError(kind)
        found.append((tag >> 3 if kind == _LEN else -1, start, at))
    if at != end:
        raise ValueError(at)
    return found


def _inside(data: bytes, at: int) -> int:
    """Where the contents of the field that begins there begin."""
    return _read(data, _read(data, at)[1])[1]


def _read(data: bytes, at: int) -> tuple[int, int]:
    """A number, and where it ends. Raises ValueError."""
    value = shift = 0
    while shift < 64 and at < len(data):
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte <= 0x7F:
            return value, at
    raise ValueError(at)


def _number(value: int) -> bytes:
    head = bytearray()
    while value > 0x7F:
        head.append(value & 0x7F | 0x80)
        value >>= 7
    head.append(value)
    return bytes(head)
