"""Whether a request's settings fit the contract's fields, told by the setting's own name. What they may be within
those the server says."""

from __future__ import annotations

import dataclasses
import math
import operator
from typing import TYPE_CHECKING

from scumble.client.errors import InvalidRequest

if TYPE_CHECKING:
    from scumble.client.requests import Live, Request

_SEEDS = (0, 2**64 - 1, "a whole number from 0 to 2**64 - 1")
_NUMBERS = (-(2**31), 2**31 - 1, f"a whole number of at most {2**31 - 1}")


def check_sendable(request: Request | Live) -> None:
    """Errors: InvalidRequest for text where a number belongs, halves of whole things, and what no field can hold."""
    for field in dataclasses.fields(request):
        value = getattr(request, field.name)
        kinds = str(field.type).split(" | ")  # annotations are text in `requests`
        if value is None and "None" in kinds:
            continue
        if "int" in kinds:
            low, high, wanted = _SEEDS if field.name == "seed" else _NUMBERS
            if not _is_whole(value, low, high):
                _refuse(field.name, value, wanted)
        elif "float" in kinds and not _is_number(value):
            _refuse(field.name, value, "a number")
        elif kinds == ["str"] and not isinstance(value, str):
            _refuse(field.name, value, "a text")


def _is_whole(value: object, low: int, high: int) -> bool:
    try:
        return low <= operator.index(value) <= high  # type: ignore[arg-type]
    except TypeError:
        return False


def _is_number(value: object) -> bool:
    try:
        math.isfinite(value)  # type: ignore[arg-type]
    except (TypeError, OverflowError):
        return False
    return True


def _refuse(name: str, value: object, wanted: str) -> None:
    raise InvalidRequest.about(name, f"{name} is {value!r}; it must be {wanted}.", wanted)
