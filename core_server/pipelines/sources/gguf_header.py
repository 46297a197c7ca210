"""The header of a GGUF file, with limits: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md.

Loading is the `gguf` package's business; this only looks, and believes no number before it is checked.
"""

from __future__ import annotations

import math
import struct
from typing import BinaryIO

MAGIC = b"GGUF"
_MAX_DIMENSIONS = 8
_SCALARS = {
    0: "B",
    1: "b",
    2: "H",
    3: "h",
    4: "I",
    5: "i",
    6: "f",
    7: "?",
    10: "Q",
    11: "q",
    12: "d",
}
_STRING, _ARRAY = 8, 9

TYPES = {
    0: ("F32", 1, 4), 1: ("F16", 1, 2), 2: ("Q4_0", 32, 18), 3: ("Q4_1", 32, 20), 6: ("Q5_0", 32, 22),
    7: ("Q5_1", 32, 24), 8: ("Q8_0", 32, 34), 10: ("Q2_K", 256, 84), 11: ("Q3_K", 256, 110),
    12: ("Q4_K", 256, 144), 13: ("Q5_K", 256, 176), 14: ("Q6_K", 256, 210), 15: ("Q8_K", 256, 292),
    24: ("I8", 1, 1), 25: ("I16", 1, 2), 26: ("I32", 1, 4), 27: ("I64", 1, 8), 28: ("F64", 1, 8),
    30: ("BF16", 1, 2),
}  # fmt: skip
"""Number: name, elements a block, bytes a block (ggml.h)."""


def read(
    stream: BinaryIO, max_bytes: int, max_tensors: int
) -> tuple[dict[str, str], dict[str, tuple[str, tuple[int, ...]]], int]:
    """Texts and numbers of the metadata as text, (type, shape as torch says it) by tensor, and where the data end.

    Errors: ValueError for what the format does not allow, EOFError for a file that is cut off.
    """
    reader = _Reader(stream, max_bytes)
    if reader.take(4) != MAGIC:
        raise ValueError("no GGUF file")
    version, count, pairs = reader.numbers("IQQ")
    if version not in (2, 3):
        raise ValueError(f"version {version}")
    if count > max_tensors or pairs > max_tensors:
        raise ValueError(f"{count} tensors and {pairs} entries")
    metadata = {}
    for _ in range(pairs):
        key = reader.text()
        value = reader.value(reader.numbers("I")[0])
        if value is not None:
            metadata[key] = value
    tensors: dict[str, tuple[str, tuple[int, ...]]] = {}
    ends = [0]
    for _ in range(count):
        name = reader.text()
        (dimensions,) = reader.numbers("I")
        if dimensions > _MAX_DIMENSIONS:
            raise ValueError(f"{dimensions} dimensions")
        shape = tuple(reversed(reader.numbers("Q" * dimensions)))
        kind, offset = reader.numbers("IQ")
        if kind not in TYPES:
            raise ValueError(f"tensor type {kind} is unknown")
        title, block, size = TYPES[kind]
        ends.append(offset + math.prod(shape) // block * size)
        tensors[name] = (title, shape)
    alignment = int(metadata.get("general.alignment", "32")) or 32
    start = -(-reader.position // alignment) * alignment
    return metadata, tensors, start + max(ends) if count else 0


class _Reader:
    def __init__(self, stream: BinaryIO, max_bytes: int) -> None:
        self._stream = stream
        self._left = max_bytes
        self.position = 0

    def take(self, count: int) -> bytes:
        if count > self._left:
            raise ValueError("it is longer than what is read of a header")
        data = self._stream.read(count)
        if len(data) != count:
            raise EOFError
        self._left -= count
        self.position += count
        return data

    def numbers(self, layout: str) -> tuple[int, ...]:
        return struct.unpack(f"<{layout}", self.take(struct.calcsize(f"<{layout}")))

    def text(self) -> str:
        return self.take(self.numbers("Q")[0]).decode("utf-8", "replace")

    def value(self, kind: int) -> str | None:
        """Metadata as text; arrays are passed over."""
        if kind == _STRING:
            return self.text()
        if kind == _ARRAY:
            of, count = self.numbers("IQ")
            if of in _SCALARS:
                self.take(struct.calcsize(_SCALARS[of]) * count)
            elif of == _STRING:
                for _ in range(count):
                    self.text()
            else:
                raise ValueError(f"arrays of type {of}")
            return None
        if kind not in _SCALARS:
            raise ValueError(f"value type {kind}")
        return str(self.numbers(_SCALARS[kind])[0])
