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
    except OSError as error:
        if error.errno not in _FULL | _CLOSED:
            raise
        raise (_full() if error.errno in _FULL else _closed()) from error
    except sqlite3.OperationalError as error:
        # The low byte is the primary code: https://sqlite.org/rescode.html
        primary = error.sqlite_errorcode & 0xFF
        if primary not in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_READONLY):
            raise
        raise (_full() if primary == sqlite3.SQLITE_FULL else _closed()) from error


def _full() -> ScumbleServerError:
    return LimitExceeded(
        "The disk with the data folder is full; free some space and try again.", limit="disk"
    )


def _closed() -> ScumbleServerError:
    return FailedPrecondition(
        "The server cannot write to its data folder; mend the folder's rights, or the disk, and try again.",
        limit="disk",
    )
