"""COM error numbers that mean something to us, as names (winerror.h)."""

from __future__ import annotations

from enum import Enum


class ComFailure(Enum):
    """What a failed COM call says about the other side."""

    BUSY = "busy"
    """The call was turned away before it ran. Calling again is safe."""
    NEVER_ARRIVED = "never arrived"
    """There is nobody behind our connection any more. Calling again on a new one is safe."""
    BROKEN_OFF = "broken off"
    """The connection broke while the call ran. What it did is unknown."""
    OTHER = "other"


_FAILURES = {
    0x80010001: ComFailure.BUSY,  # RPC_E_CALL_REJECTED
    0x8001010A: ComFailure.BUSY,  # RPC_E_SERVERCALL_RETRYLATER
    0x800706BA: ComFailure.NEVER_ARRIVED,  # RPC_S_SERVER_UNAVAILABLE
    0x80010108: ComFailure.NEVER_ARRIVED,  # RPC_E_DISCONNECTED
    0x800401FD: ComFailure.NEVER_ARRIVED,  # CO_E_OBJNOTCONNECTED
    0x800706BE: ComFailure.BROKEN_OFF,  # RPC_S_CALL_FAILED
    0x80010007: ComFailure.BROKEN_OFF,  # RPC_E_SERVER_DIED
    0x80010012: ComFailure.BROKEN_OFF,  # RPC_E_SERVER_DIED_DNE
}


def classify(error: Exception) -> ComFailure:
    """The failure a COMError stands for, by its HRESULT (signed or not)."""
    number = getattr(error, "hresult", None)
    if not isinstance(number, int):
        return ComFailure.OTHER
    return _FAILURES.get(number & 0xFFFFFFFF, ComFailure.OTHER)


def describe(error: Exception) -> str:
    """Photoshop's own text if it sent one, else the number."""
    details = getattr(error, "details", None)
    text = details[0] if isinstance(details, tuple) and details else None
    number = getattr(error, "hresult", 0) or 0
    return str(text or getattr(error, "text", None) or f"COM error 0x{number & 0xFFFFFFFF:08X}")
