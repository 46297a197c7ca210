"""ExtendScript: QuickJS runs the programs as they are; `runtime.js` gives them Photoshop's globals."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import quickjs

from tests.fakes.photoshop import actions
from tests.fakes.photoshop.objects import Collection, Enum, Fault, Thing, Unit

if TYPE_CHECKING:
    from tests.fakes.photoshop.application import Application

ACTIONS = {"event": actions.execute, "look up": actions.look_up}
RUNTIME = (Path(__file__).parent / "runtime.js").read_text(encoding="utf-8")


class JavaScript:
    """The engine of one application. Each run starts with fresh globals (our reading: programs must not rely on it)."""

    def __init__(self, application: Application) -> None:
        self._application = application
        self._things: dict[int, Thing] = {}
        self._context: Any = None

    def run(self, script: str) -> str:
        """The script's last value as text."""
        self._things.clear()
        # A context belongs to the thread that made it, and programs come from the COM thread.
        self._context = quickjs.Context()
        self._context.add_callable("host", self._host)
        self._context.eval(RUNTIME)
        self._context.eval(f"const app = decode({json.dumps(self._encode(self._application))});")
        try:
            return str(self.evaluate(script))
        except quickjs.JSException as error:
            raise Fault(f"Error 8800: General Photoshop error occurred. {error}") from error

    def evaluate(self, script: str) -> Any:
        """The script's last value, in the globals of the run that is on."""
        return self._context.eval(script)

    def _host(self, operation: str, thing: int, name: str, arguments: str) -> str:
        try:
            value = self._do(operation, self._things.get(int(thing)), name, json.loads(arguments))
            return json.dumps({"value": self._encode(value)})
        except Fault as fault:
            return json.dumps({"fault": fault.text})

    def _do(self, operation: str, thing: Thing | None, name: str, raw: list[Any]) -> Any:
        if operation in ACTIONS:
            return ACTIONS[operation](self._application, name, raw)
        assert thing is not None
        arguments = [self._decode(value) for value in raw]
        match operation:
            case "at":
                assert isinstance(thing, Collection)
                return thing.at(int(name))
            case "isMethod":
                return thing.is_method(name)
            case "get":
                return thing.get(name)
            case "put":
                return thing.put(name, *arguments)
            case _:
                return thing.call(name, *arguments)

    def _encode(self, value: Any) -> Any:
        if isinstance(value, Thing):
            self._things[id(value)] = value
            return {"thing": id(value), "collection": isinstance(value, Collection)}
        if isinstance(value, Unit):
            return {"value": value.value, "unit": value.unit}
        if isinstance(value, Enum):
            return {"enum": value.name}
        if isinstance(value, tuple | list):
            return {"list": [self._encode(item) for item in value]}
        return value

    def _decode(self, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        if "thing" in value:
            return self._things[value["thing"]]
        if "unit" in value:
            return Unit(value["value"], value["unit"])
        if "enum" in value:
            return Enum(value["enum"])
        if "options" in value:
            return {name: self._decode(item) for name, item in value["options"].items()}
        return [self._decode(item) for item in value["list"]]
