"""Checks of single fields. Each refusal says what was given, what is allowed and leaves nothing to guess."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from enum import StrEnum
from typing import Any, Generic, Protocol, TypeVar

import numpy as np

from core_server.errors import InvalidRequest
from core_server.ranges import STRENGTH, Range

Member = TypeVar("Member", bound=StrEnum)

MAX_NAME_CHARS = 1024
SHOWN_CHARS = 80
MAX_CLIENT_CHARS = 64


class _ProtoEnum(Protocol):
    """What generated enum types have in common."""

    def Name(self, number: Any) -> str: ...  # noqa: N802 - protobuf's name
    def items(self) -> Any: ...


class EnumTable(Generic[Member]):
    """A proto enum and ours: the same names, with a prefix and in upper case there, without and in lower case here.

    unspecified: what an unset field means; None refuses it.
    """

    def __init__(
        self,
        proto: _ProtoEnum,
        prefix: str,
        members: type[Member],
        unspecified: Member | None = None,
    ) -> None:
        self._what = prefix.rstrip("_").lower().replace("_", " ")
        self._prefix = prefix
        self._from_proto: dict[int, Member] = {}
        self._to_proto: dict[Member, int] = {}
        names = {member.value: member for member in members}
        for name, number in proto.items():
            member = names.get(name.removeprefix(prefix).lower())
            if member is not None:
                self._from_proto[number] = member
                self._to_proto[member] = number
        if unspecified is not None:
            self._from_proto[0] = unspecified
            self._to_proto.setdefault(unspecified, 0)
        missing = set(members) - set(self._to_proto)
        assert not missing, f"{prefix} has no value for {missing}"

    def to_proto(self, member: Member) -> Any:
        """Number on the wire."""
        return self._to_proto[member]

    def from_proto(self, number: int, field: str) -> Member:
        """Our member. Errors: InvalidRequest for unset (unless that means something) and unknown numbers."""
        if number in self._from_proto:
            return self._from_proto[number]
        allowed = ", ".join(
            self._prefix + member.upper() for member, it in self._to_proto.items() if it
        )
        if number == 0:
            raise InvalidRequest(
                field, f"The {self._what} is missing; give one of {allowed}.", allowed=allowed
            )
        raise InvalidRequest(
            field,
            f"There is no {self._what} number {number}; use one of {allowed}.",
            allowed=allowed,
        )


def name_of_client(value: str, field: str) -> str:
    """A program's name for itself, possibly empty. Errors: InvalidRequest."""
    if len(value) > MAX_CLIENT_CHARS or not all("!" <= letter <= "~" for letter in value):
        allowed = f"up to {MAX_CLIENT_CHARS} visible ASCII characters"
        raise InvalidRequest(
            field, f"The client's name is {shown(value)}; use {allowed}.", allowed=allowed
        )
    return value


def whole(value: int, field: str, what: str, low: int, high: int) -> int:
    """`value`, an integer in low..high. Errors: InvalidRequest."""
    return Range(what, low, high).check(value, field)


def strength(message: Any, field: str, default: float) -> float:
    """Denoising strength of a message with an optional field of that name. Errors: InvalidRequest."""
    if not message.HasField("strength"):
        return default
    return STRENGTH.check(shortest(message.strength), f"{field}strength")


def shortest(value: float) -> float:
    """What the caller wrote: of all decimals that are `value` in single precision the one with the fewest digits.

    A float field travels in 32 bit, so that 0.6 arrives as 0.60000002384; steps are counted from such numbers.
    """
    return float(str(np.float32(value)))


def text(value: str, field: str, what: str, max_chars: int, *, needed: bool = False) -> str:
    """`value`, at most `max_chars` characters; not blank if `needed`. Errors: InvalidRequest."""
    if len(value) > max_chars:
        raise InvalidRequest(
            field,
            f"{what} has {len(value)} characters; at most {max_chars} are allowed.",
            allowed=f"at most {max_chars} characters",
        )
    if needed and not value.strip():
        raise InvalidRequest(
            field, f"{what} is empty; say in a few words what to paint.", allowed="not empty"
        )
    return value


def identifier(value: str, field: str, what: str, max_chars: int = 128) -> str:
    """`value`, 1..max_chars visible ASCII characters. Errors: InvalidRequest."""
    if not 1 <= len(value) <= max_chars or not all("!" <= it <= "~" for it in value):
        state = "is missing" if not value else f"is {shown(value)}"
        raise InvalidRequest(
            field,
            f"{what} {state}; it must be 1 to {max_chars} visible ASCII characters without spaces.",
            allowed=f"1..{max_chars} visible ASCII characters",
        )
    return value


def needed(message: Any, name: str, field: str, what: str) -> Any:
    """The submessage `name`. Errors: InvalidRequest if it is not set. `field`: path of `message` with its dot."""
    if not message.HasField(name):
        raise InvalidRequest(f"{field}{name}", f"{what} is missing.", allowed="set")
    return getattr(message, name)


@contextmanager
def renamed_fields(names: Mapping[str, str]) -> Iterator[None]:
    """Gives the fields in refusals from further inside their paths in the message.

    names: path in the message by the first part of the inner path; "" stands for all others.
    """
    try:
        yield
    except InvalidRequest as error:
        first, dot, rest = error.field.partition(".")
        known, other = f"{names.get(first)}{dot}{rest}", f"{names.get('', '')}{error.field}"
        field = known if first in names else other
        raise InvalidRequest(field, error.message, allowed=error.allowed) from error


def shown(value: str) -> str:
    """`value` for a sentence: quoted, harmless, and short."""
    quoted = ascii(value)
    return quoted if len(quoted) <= SHOWN_CHARS else f"{quoted[: SHOWN_CHARS - 4]}...'"
