"""Random messages of the contract: made from the descriptors, so that new fields are met without anybody's doing."""

from __future__ import annotations

import random
import struct
from typing import Any

from google.protobuf.descriptor import FieldDescriptor as Field
from google.protobuf.message import Message

_MAX_DEPTH = 6
_INTS = (
    0,
    1,
    2,
    3,
    7,
    8,
    12,
    16,
    24,
    64,
    100,
    255,
    512,
    4096,
    16384,
    16385,
    -1,
    -8,
    2**31 - 1,
    -(2**31),
)
_REALS = (
    0.0,
    0.5,
    0.6,
    1.0,
    1.5,
    2.0,
    -1.0,
    7.5,
    50.0,
    1e-30,
    1e30,
    float("nan"),
    float("inf"),
    float("-inf"),
)
_TEXTS = (
    "",
    "moss",
    "oom",
    "bug",
    "previews",
    "echo",
    "tiny",
    "default",
    "euler",
    "ddim",
    "no such",
    "../..",
)
_TEXTS += (
    "/etc/passwd",
    "x.safetensors",
    "a\0b",
    "ä\u202e\U0001f984",
    "x" * 9000,
    "%s%n{0}",
    "'; DROP TABLE jobs;--",
)
_RANGES = {
    Field.CPPTYPE_INT32: (-(2**31), 2**31 - 1),
    Field.CPPTYPE_INT64: (-(2**63), 2**63 - 1),
    Field.CPPTYPE_UINT32: (0, 2**32 - 1),
    Field.CPPTYPE_UINT64: (0, 2**64 - 1),
}


class Maker:
    """Makes messages. `seen`: ids that the server gave, to be used again."""

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        self.seen: list[str] = []

    def message(self, kind: type[Message]) -> Message:
        made = kind()
        self._fill(made, 0)
        return made

    def data(self, message: Message) -> bytes:
        """Its bytes, now and then damaged."""
        data = bytearray(message.SerializeToString())
        if self.chance.random() < 0.08 and data:
            for _ in range(self.chance.randint(1, 4)):
                data[self.chance.randrange(len(data))] = self.chance.randrange(256)
            if self.chance.random() < 0.3:
                del data[self.chance.randrange(len(data)) :]
        return bytes(data)

    def _fill(self, message: Message, depth: int) -> None:
        chosen = {it.name: self.chance.choice(it.fields).name for it in message.DESCRIPTOR.oneofs}
        for field in message.DESCRIPTOR.fields:
            group = field.containing_oneof
            if group is not None and chosen[group.name] != field.name:
                continue
            if self.chance.random() < (0.15 if depth else 0.05):
                continue
            if field.message_type and depth >= _MAX_DEPTH:
                continue
            if field.is_repeated:
                self._fill_many(message, field, depth)
            elif field.message_type:
                sub = getattr(message, field.name)
                sub.SetInParent()
                self._fill(sub, depth + 1)
            else:
                setattr(message, field.name, self._value(field))

    def _fill_many(self, message: Message, field: Any, depth: int) -> None:
        target = getattr(message, field.name)
        for _ in range(self.chance.choice((0, 0, 1, 1, 2, 5))):
            if field.message_type and field.message_type.GetOptions().map_entry:
                target["key"] = "value"
            elif field.message_type:
                self._fill(target.add(), depth + 1)
            else:
                target.append(self._value(field))

    def _value(self, field: Any) -> Any:
        if field.cpp_type == Field.CPPTYPE_STRING:
            return self._bytes() if field.type == Field.TYPE_BYTES else self._text(field.name)
        if field.cpp_type == Field.CPPTYPE_BOOL:
            return self.chance.random() < 0.5
        if field.cpp_type == Field.CPPTYPE_ENUM:
            known = [it.number for it in field.enum_type.values]
            return self.chance.choice([*known, *known, 99, -1])
        if field.cpp_type in (Field.CPPTYPE_FLOAT, Field.CPPTYPE_DOUBLE):
            return self.chance.choice(_REALS)
        return self._whole(field)

    def _whole(self, field: Any) -> int:
        low, high = _RANGES[field.cpp_type]
        small = field.name in ("width", "height", "channels", "num_inference_steps", "count")
        if small and self.chance.random() < 0.85:
            return self.chance.choice((1, 3, 8, 12, 16, 24))
        value = (
            self.chance.choice(_INTS)
            if self.chance.random() < 0.9
            else self.chance.randint(low, high)
        )
        return min(max(value, low), high)

    def _text(self, name: str) -> str:
        if (
            name.endswith("_id")
            and name != "request_id"
            and self.seen
            and self.chance.random() < 0.7
        ):
            return self.chance.choice(self.seen)
        if name == "request_id" and self.chance.random() < 0.8:
            return f"wish-{self.chance.randrange(10**9)}"
        if name in ("model", "scheduler", "style") and self.chance.random() < 0.7:
            return ""
        return self.chance.choice(_TEXTS)

    def _bytes(self) -> bytes:
        size = self.chance.choice((0, 1, 100, 8 * 8 * 3, 16 * 16 * 3, 24 * 16 * 4, 5000))
        head = self.chance.choice(
            (b"", b"\x89PNG\r\n\x1a\n", b"II*\0", b"RIFF", struct.pack("<I", 20000630))
        )
        return (head + self.chance.randbytes(size))[:size]
