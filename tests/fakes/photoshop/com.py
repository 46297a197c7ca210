"""Lets the real photoshop-python-api, on the real late-bound dispatch of comtypes, talk to the model on Linux.

A stub package `comtypes` stands where the installed one lies: its `hresult` and `client.dynamic` (how members of an
object without type information are found) are the real code; COM itself and the registry are replaced.
"""

from __future__ import annotations

import _ctypes
import ctypes
import importlib
import importlib.machinery
import os
import sys
import threading
import types
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Literal

from tests.fakes.photoshop.application import Application
from tests.fakes.photoshop.objects import Fault, Thing

EXCEPTION_OCCURRED = -2147352567
UNKNOWN_NAME = -2147352570
WRONG_THREAD = -2147417842
NOT_INITIALISED = -2147221008
SERVER_UNAVAILABLE = -2147023174


class ComError(Exception):
    """comtypes.COMError: hresult, text, details (description, source, help file, help context, scode)."""

    def __init__(self, hresult: int, text: str | None, details: tuple[Any, ...]) -> None:
        super().__init__(hresult, text, details)
        self.hresult, self.text, self.details = hresult, text, details


class Com:
    """The COM of a computer that Photoshop is installed on.

    running: the Application to connect to, None if creating the object would have to start Photoshop: that is counted
    in `starts` and fails. failures: HRESULTs that the next calls fail with. installed: versions in the registry, in its
    order. version: the running one. announced: whether it is in the running object table; "dead" is an entry whose
    process has died.
    """

    def __init__(self) -> None:
        self.running: Application | None = None
        self.starts = 0
        self.failures: list[int] = []
        self.installed = ["200"]
        self.version = "200"
        self.announced: bool | Literal["dead"] = True
        self._apartments = threading.local()

    def enter_apartment(self) -> None:
        """CoInitialize."""
        self._apartments.depth = getattr(self._apartments, "depth", 0) + 1

    def leave_apartment(self) -> None:
        """CoUninitialize."""
        self._apartments.depth -= 1

    def create_object(self, program_id: str, dynamic: bool = False) -> Any:
        """comtypes.client.CreateObject."""
        if not getattr(self._apartments, "depth", 0):
            raise OSError(NOT_INITIALISED, "CoInitialize has not been called")
        version = program_id.removeprefix("Photoshop.Application.")
        if version not in self.installed:
            raise OSError(-2147221005, "Invalid class string")
        if self.running is None or version != self.version:
            self.starts += 1
            raise OSError(-2146959355, "Server execution failed")
        assert dynamic
        return self.wrap(self.running)

    def get_active_object(self, program_id: str, dynamic: bool = False) -> Any:
        """comtypes.client.GetActiveObject."""
        if self.announced == "dead":
            raise ComError(SERVER_UNAVAILABLE, None, ())
        if (
            self.running is None
            or not self.announced
            or program_id != f"Photoshop.Application.{self.version}"
        ):
            raise OSError(-2147221021, "Operation unavailable")
        return self.wrap(self.running)

    def wrap(self, value: Any) -> Any:
        """Things become late-bound dispatch objects."""
        if not isinstance(value, Thing):
            return value
        return importlib.import_module("comtypes.client.dynamic")._Dispatch(_Pointer(self, value))


class _Pointer:
    """What comtypes' dispatch asks of an IDispatch without type information."""

    def __init__(self, com: Com, thing: Thing) -> None:
        self._com = com
        self._thing = thing
        self._thread = threading.get_ident()
        self._names: list[str] = []

    def GetIDsOfNames(self, *names: str) -> list[int]:  # noqa: N802
        try:
            self._names.append(self._thing.member(names[0]))
        except Fault as fault:
            raise ComError(UNKNOWN_NAME, None, (None, None, None, 0, None)) from fault
        return [len(self._names)]

    def Invoke(self, member: int, *arguments: Any, _invkind: int = 1) -> Any:  # noqa: N802
        if threading.get_ident() != self._thread:
            raise ComError(WRONG_THREAD, "marshalled for a different thread", ())
        with suppress(IndexError):  # a test may clear them meanwhile
            raise ComError(self._com.failures.pop(0), None, ())
        name = self._names[member - 1]
        try:
            if _invkind in (4, 8):
                return self._thing.put(name, arguments[-1])
            return self._com.wrap(
                self._thing.call(name, *arguments) if _invkind == 1 else self._thing.get(name)
            )
        except Fault as fault:
            details = (fault.text, "Adobe Photoshop", None, 0, fault.number)
            raise ComError(EXCEPTION_OCCURRED, None, details) from fault


@contextmanager
def installed() -> Iterator[Com]:
    """While it lasts, `import photoshop.api` works and finds the given COM."""
    com = Com()
    before = dict(sys.modules)
    had_error = hasattr(_ctypes, "COMError")
    environment = os.environ.pop("PS_VERSION", None)
    spec = importlib.machinery.PathFinder.find_spec("comtypes")
    assert spec is not None and spec.origin is not None
    folder = Path(spec.origin).parent
    if not had_error:
        _ctypes.COMError = ComError  # type: ignore[attr-defined]
    _module(
        "comtypes",
        COMError=ComError,
        ArgumentError=ctypes.ArgumentError,
        GUID=object,
        IUnknown=object,
        _is_object=lambda value: hasattr(value, "_comobj"),
        CoInitialize=com.enter_apartment,
        CoUninitialize=com.leave_apartment,
    ).__path__ = [str(folder)]
    _module("comtypes.automation", IDispatch=type("IDispatch", (ctypes.c_void_p,), {}), IEnumVARIANT=object,
            DISPATCH_METHOD=1, DISPATCH_PROPERTYGET=2, DISPATCH_PROPERTYPUT=4, DISPATCH_PROPERTYPUTREF=8)  # fmt: skip
    _module(
        "comtypes.client", CreateObject=com.create_object, GetActiveObject=com.get_active_object
    ).__path__ = [str(folder / "client")]
    _module("comtypes.client.lazybind", Dispatch=object)
    _module("winreg", HKEYType=int, HKEY_LOCAL_MACHINE=1, KEY_READ=1, KEY_WOW64_64KEY=2, KEY_WOW64_32KEY=4,
            OpenKey=lambda *a, **k: 1, QueryInfoKey=lambda key: (len(com.installed), 0, 0),
            EnumKey=lambda key, index: f"{com.installed[index]}.0")  # fmt: skip
    try:
        importlib.import_module("photoshop.api")
        # The package keeps its own reference; others decide by this module whether they run on Windows.
        del sys.modules["winreg"]
        yield com
    finally:
        for name in set(sys.modules) - set(before):
            if name.split(".")[0] in ("comtypes", "photoshop", "winreg"):
                del sys.modules[name]
        if not had_error:
            del _ctypes.COMError  # type: ignore[attr-defined]
        if environment is not None:
            os.environ["PS_VERSION"] = environment


def _module(name: str, **members: Any) -> types.ModuleType:
    module = types.ModuleType(name)
    module.__dict__.update(members)
    sys.modules[name] = module
    parent, _, child = name.rpartition(".")
    if parent:
        setattr(sys.modules[parent], child, module)
    return module
