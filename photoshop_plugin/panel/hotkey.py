"""A hot key that works while Photoshop has the keyboard. Windows only; elsewhere `register` says no.

Source: RegisterHotKey and WM_HOTKEY, Win32 API. Needs no hook and no administrator.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable
from ctypes import wintypes
from typing import Any

from PySide6.QtCore import QAbstractNativeEventFilter, QByteArray, QKeyCombination, Qt
from PySide6.QtGui import QKeySequence

DEFAULT_KEYS = "Ctrl+Alt+G"
_ID = 1
_WM_HOTKEY = 0x0312
_NO_REPEAT = 0x4000
_MODIFIERS = (
    (Qt.KeyboardModifier.AltModifier, 0x0001),
    (Qt.KeyboardModifier.ControlModifier, 0x0002),
    (Qt.KeyboardModifier.ShiftModifier, 0x0004),
    (Qt.KeyboardModifier.MetaModifier, 0x0008),
)


def windows_keys(text: str) -> tuple[int, int] | None:
    """(modifiers, virtual key) of a sequence such as "Ctrl+Alt+G"; None if it cannot be a hot key.

    It takes one key, A to Z, 0 to 9 or F1 to F12, with at least one of Ctrl, Alt and the Windows key.
    """
    sequence = QKeySequence(text)
    if sequence.count() != 1:
        return None
    combination: QKeyCombination = sequence[0]  # type: ignore[index]  # Qt's stubs lack it
    key = combination.key().value
    if Qt.Key.Key_F1.value <= key <= Qt.Key.Key_F12.value:
        virtual = 0x70 + key - Qt.Key.Key_F1.value
    elif 0x30 <= key <= 0x39 or 0x41 <= key <= 0x5A:
        virtual = key
    else:
        return None
    held = combination.keyboardModifiers()
    modifiers = sum(bit for modifier, bit in _MODIFIERS if held & modifier)
    return (modifiers, virtual) if modifiers & ~0x0004 else None


class HotKey(QAbstractNativeEventFilter):
    """One global hot key at a time. Install it on the application."""

    def __init__(self, pressed: Callable[[], None]) -> None:
        super().__init__()
        self._pressed = pressed
        self._registered = False

    def register(self, text: str) -> str:
        """Takes these keys instead of the present ones; "" takes none. Returns "" or the sentence why not."""
        self.release()
        if not text:
            return ""
        keys = windows_keys(text)
        if keys is None:
            return f"{text} cannot be a hot key; use one letter, digit or function key with Ctrl or Alt."
        if sys.platform != "win32":
            return "A global hot key exists on Windows only; in the panel Ctrl+Enter generates."
        modifiers, virtual = keys
        if not ctypes.windll.user32.RegisterHotKey(None, _ID, modifiers | _NO_REPEAT, virtual):
            return f"Another program has taken {text}; choose other keys in the settings."
        self._registered = True
        return ""

    def release(self) -> None:
        """Gives the keys back."""
        if sys.platform == "win32" and self._registered:
            ctypes.windll.user32.UnregisterHotKey(None, _ID)
        self._registered = False

    def nativeEventFilter(  # noqa: N802 - Qt's name
        self, kind: QByteArray | bytes | bytearray | memoryview, message: Any
    ) -> tuple[bool, int]:
        """WM_HOTKEY calls back; everything passes on."""
        if sys.platform == "win32" and bytes(kind) == b"windows_generic_MSG":
            if wintypes.MSG.from_address(int(message)).message == _WM_HOTKEY:
                self._pressed()
        return False, 0
