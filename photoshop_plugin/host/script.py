"""The ExtendScript programs: how they are put together and what their answers mean."""

from __future__ import annotations

import json
from functools import cache
from importlib import resources
from typing import Any

from photoshop_plugin.errors import DocumentRefused, ScriptFailed


@cache
def _source(name: str) -> str:
    return resources.files(__package__).joinpath("jsx", f"{name}.jsx").read_text(encoding="utf-8")


def build(program: str, request: dict[str, Any]) -> str:
    """The text to run for a program, by its file's name in `jsx`.

    The request becomes one JSON literal of ASCII characters: quotes, line breaks and U+2028 cannot leave it, so a
    prompt is never executed.
    """
    literal = json.dumps(request, ensure_ascii=True, allow_nan=False)
    return f"{_source('lib')}\nvar scumbleRequest = {literal};\n{_source(program)}"


def parse(program: str, answer: object) -> Any:
    """A program's value. Raises DocumentRefused for codes it knows, else ScriptFailed."""
    try:
        message = json.loads(str(answer))
        if message["ok"]:
            return message["value"]
        code, detail, line = message["code"], message["message"], int(message["line"])
    except (ValueError, KeyError, TypeError) as error:
        raise ScriptFailed(program, f"it answered {str(answer)[:200]!r}.") from error
    if DocumentRefused.knows(code):
        raise DocumentRefused(code)
    raise ScriptFailed(program, detail, line)
