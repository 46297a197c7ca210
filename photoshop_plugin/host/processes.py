"""Which programs run, asked of Windows itself: no helper process, no output in the system's language."""

from __future__ import annotations

import ctypes
from ctypes import wintypes
from typing import Any, ClassVar

_SNAPSHOT_PROCESSES = 2
"""TH32CS_SNAPPROCESS (tlhelp32.h)."""


class _ProcessEntry(ctypes.Structure):
    """PROCESSENTRY32W (tlhelp32.h)."""

    _fields_: ClassVar[list[Any]] = [
        ("size", wintypes.DWORD),
        ("usage", wintypes.DWORD),
        ("process_id", wintypes.DWORD),
        ("default_heap", ctypes.c_size_t),
        ("module_id", wintypes.DWORD),
        ("threads", wintypes.DWORD),
        ("parent_process_id", wintypes.DWORD),
        ("base_priority", wintypes.LONG),
        ("flags", wintypes.DWORD),
        ("name", wintypes.WCHAR * 260),
    ]


def is_program_running(name: str) -> bool:
    """Whether a program of this file name, in any case, runs. Windows only."""
    kernel = ctypes.WinDLL("kernel32", use_last_error=True)  # type: ignore[attr-defined]
    kernel.CreateToolhelp32Snapshot.restype = wintypes.HANDLE
    for function in (kernel.Process32FirstW, kernel.Process32NextW):
        function.argtypes = (wintypes.HANDLE, ctypes.POINTER(_ProcessEntry))
    kernel.CloseHandle.argtypes = (wintypes.HANDLE,)
    snapshot = kernel.CreateToolhelp32Snapshot(_SNAPSHOT_PROCESSES, 0)
    entry = _ProcessEntry(size=ctypes.sizeof(_ProcessEntry))
    try:
        found = kernel.Process32FirstW(snapshot, ctypes.byref(entry))
        while found and entry.name.lower() != name.lower():
            found = kernel.Process32NextW(snapshot, ctypes.byref(entry))
        return bool(found)
    finally:
        kernel.CloseHandle(snapshot)
