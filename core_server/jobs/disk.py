"""A full disk, told as what it is."""

from __future__ import annotations

import contextlib
import errno
import sqlite3
from collections.abc import Iterator

from core_server.errors import LimitExceeded


@contextlib.contextmanager
def full_disk_told() -> Iterator[None]:
    """Errors: LimitExceeded when the disk, or the user's share of it, is full; other errors pass."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise _full() from error
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode != sqlite3.SQLITE_FULL:
            raise
        raise _full() from error


def _full() -> LimitExceeded:
    return LimitExceeded(
        "The disk with the data folder is full; free some space and try again.", limit="disk"
    )
