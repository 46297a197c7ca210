"""Photoshop.exe as COM sees it: a local server for `Photoshop.Application`, run by a Windows Python under Wine.

Scripts go on over a socket to the in-memory Photoshop in the tests' own process (`relay`), one JSON line each way. Only
pywin32 and comtypes are needed here.

    Photoshop.exe com_server.py PORT            serve until killed
    Photoshop.exe com_server.py PORT register   write the registry as Photoshop's installer does, and end

Each process has a class id of its own: Wine keeps the registration of a class whose process was killed.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import time
from ctypes import c_ulong, c_void_p, oledll
from pathlib import Path
from typing import Any, ClassVar

import pythoncom
import pywintypes
import win32com.server.policy
import win32com.server.util
import winerror
from comtypes import GUID, STDMETHOD, COMObject, IUnknown
from win32com.server.exception import COMException

VERSION = "200"
PROGRAM_IDS = ("Photoshop.Application", f"Photoshop.Application.{VERSION}")
REQUIRED_VALUE_MISSING = -2147220262
HANDLED, REJECTED = 0, 1
"""SERVERCALL_ISHANDLED, SERVERCALL_REJECTED (objidl.h). Wine overlooks SERVERCALL_RETRYLATER."""


class MessageFilterInterface(IUnknown):
    """IMessageFilter (objidl.h)."""

    _iid_ = GUID("{00000016-0000-0000-C000-000000000046}")
    _methods_: ClassVar[list[Any]] = [
        STDMETHOD(c_ulong, "HandleInComingCall", [c_ulong, c_void_p, c_ulong, c_void_p]),
        STDMETHOD(c_ulong, "RetryRejectedCall", [c_void_p, c_ulong, c_ulong]),
        STDMETHOD(c_ulong, "MessagePending", [c_void_p, c_ulong, c_ulong]),
    ]


class MessageFilter(COMObject):
    """Turns calls away while Photoshop "shows a dialog"."""

    _com_interfaces_: ClassVar[list[Any]] = [MessageFilterInterface]
    busy_until = 0.0

    def HandleInComingCall(self, this: Any, *_: Any) -> int:  # noqa: N802
        return REJECTED if time.monotonic() < self.busy_until else HANDLED

    def RetryRejectedCall(self, this: Any, *_: Any) -> int:  # noqa: N802
        return 0xFFFFFFFF

    def MessagePending(self, this: Any, *_: Any) -> int:  # noqa: N802
        return 2


class Photoshop:
    """The two members that are asked for. Answers the relay's {text}, {fault, number}, {busy} and {die}."""

    def __init__(self, port: int, message_filter: MessageFilter) -> None:
        self._stream = socket.create_connection(("127.0.0.1", port)).makefile("rwb")
        self._filter = message_filter

    def run(self, script: str, arguments: Any, mode: int) -> str:
        """DoJavaScript."""
        request = json.dumps({"script": script, "arguments": arguments, "mode": mode})
        self._stream.write(request.encode() + b"\n")
        self._stream.flush()
        answer = json.loads(self._stream.readline() or b'{"die": true}')
        if "die" in answer:
            os._exit(1)  # in the middle of the call
        self._filter.busy_until = time.monotonic() + answer["busy"]
        if "fault" in answer:
            raise COMException(
                description=answer["fault"], scode=answer["number"], source="Adobe Photoshop"
            )
        return str(answer["text"])


class LateBound(win32com.server.policy.BasicWrapPolicy):  # type: ignore[misc]
    """Without type information, names in any case, and asking for a method as a property calls it without arguments: as
    users of the package report of Photoshop."""

    _members: ClassVar[dict[str, int]] = {"dojavascript": 1, "version": 2}

    def _wrap_(self, thing: Photoshop) -> None:
        self._obj_ = thing

    def _getidsofnames_(self, names: tuple[str, ...], locale: int) -> tuple[int]:
        if names[0].lower() not in self._members:
            raise COMException(scode=winerror.DISP_E_UNKNOWNNAME)
        return (self._members[names[0].lower()],)

    def _gettypeinfocount_(self) -> int:
        return 0

    def _GetTypeInfo_(self, index: int, locale: int) -> None:  # noqa: N802
        raise COMException(scode=winerror.E_NOTIMPL)

    def _query_interface_(self, iid: Any) -> int:
        return 0

    def _invoke_(self, member: int, locale: int, flags: int, values: Any) -> Any:
        return winerror.S_OK, 0, self._invokeex_(member, locale, flags, values)

    def _invokeex_(self, member: int, locale: int, flags: int, values: Any, *_: Any) -> Any:
        if member == self._members["version"]:
            return "27.5.0"
        if len(values) != 3:
            raise COMException(
                description="Illegal argument - argument 1\n- Required value is missing",
                scode=REQUIRED_VALUE_MISSING,
                source="Adobe Photoshop",
            )
        return self._obj_.run(*values)


def register(port: int) -> str:
    """The classes, the server that COM starts for them, and the installed version. Returns the class id."""
    import winreg  # noqa: PLC0415

    def put(path: str, value: str, name: str = "") -> None:
        key = winreg.CreateKey(winreg.HKEY_LOCAL_MACHINE, path)  # type: ignore[attr-defined]
        winreg.SetValueEx(key, name, 0, winreg.REG_SZ, value)  # type: ignore[attr-defined]

    class_id = str(pythoncom.CreateGuid())
    for program_id in PROGRAM_IDS:
        put(rf"Software\Classes\{program_id}\CLSID", class_id)
    command = f'"{Path(sys.executable)}" "{Path(__file__).resolve()}" {port}'
    put(rf"Software\Classes\CLSID\{class_id}\LocalServer32", command)
    put(rf"SOFTWARE\Adobe\Photoshop\{VERSION}.0", "C:\\Photoshop\\", "ApplicationPath")
    return class_id


def serve(port: int) -> None:
    """Until the process is killed."""
    message_filter = MessageFilter()
    pointer = message_filter.QueryInterface(MessageFilterInterface)
    oledll.ole32.CoRegisterMessageFilter(pointer, None)
    wrapped = win32com.server.util.wrap(Photoshop(port, message_filter), usePolicy=LateBound)
    # pythoncom's class factory asks this function; there is one Application, as in Photoshop.
    win32com.server.policy.CreateInstance = lambda class_id, iid: wrapped.QueryInterface(iid)
    identity = pywintypes.IID(register(port))
    kept = pythoncom.CoRegisterClassObject(
        identity,
        pythoncom.MakePyFactory(identity),
        pythoncom.CLSCTX_LOCAL_SERVER,
        pythoncom.REGCLS_MULTIPLEUSE,
    )
    active = pythoncom.RegisterActiveObject(wrapped, identity, 0)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    pythoncom.PumpMessages()
    del kept, active


if __name__ == "__main__":
    (register if sys.argv[2:] == ["register"] else serve)(int(sys.argv[1]))
