"""A disk that is full or cannot be written, told as what it is."""

from __future__ import annotations

import contextlib
import errno
import sqlite3
from collections.abc import Iterator

from core_server.errors import FailedPrecondition, LimitExceeded, ScumbleServerError

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_CLOSED = {errno.EROFS, errno.EACCES, errno.EPERM}


@contextlib.contextmanager
def full_disk_told() -> Iterator[None]:
    """Errors: LimitExceeded when the disk, or the user's share of it, is full; FailedPrecondition when the data folder
    can only be read; other errors pass."""
    try:
        yield
    except (OSError, sqlite3.OperationalError) as error:
        told = trouble(error)
        if told is None:
            raise
        raise told from error


def trouble(error: Exception) -> ScumbleServerError | None:
    """What an error of a full or closed disk tells; None for any other."""
    if isinstance(error, OSError):
        if error.errno in _FULL:
            return _full()
        return _closed() if error.errno in _CLOSED else None
    if isinstance(error, sqlite3.OperationalError):
        # The low byte is the primary code: https://sqlite.org/rescode.html
        match error.sqlite_errorcode & 0xFF:
            case sqlite3.SQLITE_FULL:
                return _full()
            case sqlite3.SQLITE_READONLY:
                return _closed()
    return None


def _full() -> ScumbleServerError:
    return LimitExceeded(
        "The disk with the data folder is full; free some space and try again.", limit="disk"
    )


def _closed() -> ScumbleServerError:
    return FailedPrecondition(
        "The server cannot write to its data folder; mend the folder's rights, or the disk, and try again.",
        limit="disk",
    )
