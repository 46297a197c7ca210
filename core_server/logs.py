"""Logging: short lines for people on stderr, JSON lines with rotation in the data folder.

No prompts and no secrets are logged anywhere; log records carry ids, names, sizes and times.
"""

from __future__ import annotations

import json
import logging
import logging.handlers
import sys
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

MAX_BYTES = 32 * 1024 * 1024
KEPT_FILES = 5

_PLAIN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


@contextmanager
def logging_to(data_dir: Path, name: str, max_bytes: int = MAX_BYTES) -> Iterator[None]:
    """Sends all log records to stderr and to <data dir>/logs/<name>.log for a while.

    max_bytes: of that file and the older ones beside it together.

    Each process has a name of its own: two cannot take turns with one file.
    """
    folder = data_dir / "logs"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    to_file = logging.handlers.RotatingFileHandler(
        folder / f"{name}.log",
        maxBytes=max(max_bytes // (KEPT_FILES + 1), 1),
        backupCount=KEPT_FILES,
        encoding="utf-8",
        delay=True,
    )
    to_file.setFormatter(JsonLines())
    to_people = logging.StreamHandler(sys.stderr)
    to_people.setFormatter(_ShortLines())
    root = logging.getLogger()
    before = root.level
    root.setLevel(min(before, logging.INFO))
    # It writes a line for everything odd in a file that somebody sent; the caller is told already.
    logging.getLogger("tifffile").setLevel(logging.CRITICAL)
    handlers: tuple[logging.Handler, ...] = (to_people, to_file)
    for handler in handlers:
        handler.setLevel(logging.INFO)
        root.addHandler(handler)
    try:
        yield
    finally:
        root.setLevel(before)
        for handler in handlers:
            root.removeHandler(handler)
            handler.close()


class JsonLines(logging.Formatter):
    """One JSON object a line: time, level, logger, message, and whatever the record carries in `extra`."""

    def format(self, record: logging.LogRecord) -> str:
        """The line, without its end."""
        entry: dict[str, object] = {
            "time": f"{_utc(record)}.{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        entry |= {key: value for key, value in vars(record).items() if key not in _PLAIN}
        if record.exc_info and record.exc_info[0] is not None:
            entry["traceback"] = "".join(traceback.format_exception(*record.exc_info))
        return json.dumps(entry, ensure_ascii=False, default=str)


class _ShortLines(logging.Formatter):
    """`12:34:56 message`, with the level where it is a warning or worse; tracebacks stay in the file."""

    def format(self, record: logging.LogRecord) -> str:
        level = f"{record.levelname.lower()}: " if record.levelno >= logging.WARNING else ""
        clock = time.strftime("%H:%M:%S", time.localtime(record.created))
        return f"{clock} {level}{record.getMessage()}"


def _utc(record: logging.LogRecord) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
