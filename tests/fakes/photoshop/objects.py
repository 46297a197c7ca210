"""What all objects of the model share: members by name, methods apart from properties, faults with COM numbers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from tests.fakes.photoshop.application import Application
    from tests.fakes.photoshop.document import Document

NO_SUCH_PROPERTY = -2147212704
ILLEGAL_ARGUMENT = -2147220262
NOT_IN_FRONT = -2147213312
"""Numbers of photoshop-python-api's issues; 100 for the last one."""

F = TypeVar("F", bound=Callable[..., Any])


class Fault(Exception):
    """An error of Photoshop: its text and its number."""

    def __init__(self, text: str, number: int = ILLEGAL_ARGUMENT) -> None:
        super().__init__(text)
        self.text = text
        self.number = number


@dataclass(frozen=True)
class Enum:
    """A constant such as Units.PIXELS."""

    name: str


@dataclass(frozen=True)
class Unit:
    """A number with a unit, as bounds and sizes are (JS: UnitValue)."""

    value: float
    unit: str

    @property
    def px(self) -> int:
        """Whole pixels; the model takes no fractions."""
        if self.unit != "px" or self.value != round(self.value):
            raise Fault(f"this model moves whole pixels, not {self.value} {self.unit}")
        return round(self.value)


def method(function: F) -> F:
    """Marks a member that is called; reading it without calling runs it, as late-bound Photoshop does."""
    function.is_method = True  # type: ignore[attr-defined]
    return function


class Thing:
    """An object that programs can reach. Public attributes are its members; names match without case, as COM's do.

    Most members of a document that is not in front fail (photoshop-python-api issue 100). `anywhere` lists those that
    do not.
    """

    typename = "Object"
    anywhere: frozenset[str] = frozenset({"typename", "id"})
    application: Application
    document: Document | None = None

    _own = frozenset(
        {"application", "document", "anywhere", "member", "is_method", "get", "put", "call"}
    )

    def member(self, name: str) -> str:
        """The member's own spelling."""
        for known in dir(self):
            if (
                known.lower() == name.lower()
                and not known.startswith("_")
                and known not in self._own
            ):
                return known
        raise Fault(f"{self.typename} has no property {name!r}", NO_SUCH_PROPERTY)

    def is_method(self, name: str) -> bool:
        """Whether the member is called."""
        return getattr(getattr(type(self), self.member(name), None), "is_method", False)

    def get(self, name: str) -> Any:
        """Reads a property, or runs a method without arguments."""
        if self.is_method(name):
            return self.call(name)
        self._require_front(name)
        return getattr(self, self.member(name))

    def put(self, name: str, value: Any) -> None:
        """Sets a property."""
        self._require_front(name)
        real = self.member(name)
        known = getattr(type(self), real, None)
        if isinstance(known, property) and known.fset is None:
            raise Fault(f"{self.typename}.{name} is read only")
        setattr(self, real, value)

    def call(self, name: str, *arguments: Any) -> Any:
        """Runs a method."""
        self._require_front(name)
        try:
            return getattr(self, self.member(name))(*arguments)
        except TypeError as error:
            if "argument" not in str(error):
                raise
            raise Fault("Illegal argument - argument 1\n- Required value is missing") from error

    def _require_front(self, name: str) -> None:
        document = self.document
        if document is None or self.member(name) in self.anywhere:
            return
        if document not in document.application.open_documents:
            raise Fault("The object is no longer there.", NO_SUCH_PROPERTY)
        if document.application.front is not document:
            raise Fault(f"{self.typename}.{name}: the document is not in front", NOT_IN_FRONT)


class Collection(Thing):
    """A list of things: `length`, index from 0 in JavaScript, `getByName` (JS)."""

    typename = "Collection"
    anywhere = frozenset({"length", "typename"})

    def __init__(self, document: Document | None, items: Callable[[], list[Any]]) -> None:
        self.document = document
        self._items = items

    @property
    def length(self) -> int:
        return len(self._items())

    def at(self, index: int) -> Any:
        """The thing at an index from 0."""
        if not 0 <= index < len(self._items()):
            raise Fault("No such element", NO_SUCH_PROPERTY)
        return self._items()[index]

    @method
    def getByName(self, name: str) -> Any:  # noqa: N802
        for item in self._items():
            if item.name == name:
                return item
        raise Fault("No such element", NO_SUCH_PROPERTY)
