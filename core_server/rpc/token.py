"""The token that every call must carry: made on first start, kept in a file that only its owner can read."""

from __future__ import annotations

import hashlib
import logging
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from core_server.errors import StartupError

TOKEN_FILE = "token"  # noqa: S105 - a file name
TOKEN_BYTES = 32
MIN_TOKEN_CHARS = 22
"""128 bits in URL-safe base64: the least an artist's own token may have."""

logger = logging.getLogger(__name__)


def read_or_create_token(data_dir: Path) -> str:
    """The token in `data_dir`, made if there is none: 256 random bits as URL-safe text.

    The file has mode 0600 from its first moment. A file that others could read is closed again, with a warning.
    On Windows there are no modes: the file inherits the rights of the user's own application data folder.
    Errors: StartupError for a file that is not ours or holds no usable token.
    """
    path = data_dir / TOKEN_FILE
    if not path.exists():
        _create(path)
    return _read(path)


def owner_of(token: str) -> str:
    """Identity of whoever holds `token`; says nothing about the token itself."""
    return hashlib.sha256(token.encode()).hexdigest()[:16]


def write_private(path: Path, text: str) -> None:
    """Puts a file in place, whole and for its owner alone, whatever was there before."""
    with _drafted(path, text) as draft:
        draft.replace(path)


def _create(path: Path) -> None:
    """Writes the token beside its place and moves it there, so that no reader ever sees half of it."""
    with _drafted(path, secrets.token_urlsafe(TOKEN_BYTES) + "\n") as draft:
        _move_unless_there(draft, path)


@contextmanager
def _drafted(path: Path, text: str) -> Iterator[Path]:
    draft = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        yield draft
    finally:
        draft.unlink(missing_ok=True)


def _move_unless_there(draft: Path, path: Path) -> None:
    """Of two servers starting at once the first one's token stays."""
    try:
        os.link(draft, path)
    except FileExistsError:
        return
    except OSError:  # a file system without hard links
        if not path.exists():
            draft.replace(path)


def _read(path: Path) -> str:
    # O_NOFOLLOW: a link would let somebody else choose the file whose mode is mended below.
    try:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0))
    except OSError as error:
        raise StartupError(
            f"The token file {path} cannot be read ({error.strerror}). Delete it and start again."
        ) from error
    with os.fdopen(descriptor, encoding="utf-8", errors="replace") as file:
        _close_to_others(path, file.fileno())
        token = file.read(4096).strip()
    if len(token) < MIN_TOKEN_CHARS or not all("!" <= character <= "~" for character in token):
        raise StartupError(
            f"The token file {path} holds no usable token ({MIN_TOKEN_CHARS} or more visible ASCII characters on one "
            "line). Delete it and start again to have a new one made."
        )
    return token


def _close_to_others(path: Path, descriptor: int) -> None:
    if os.name == "nt":
        return
    status = os.fstat(descriptor)
    if status.st_uid != os.geteuid():
        raise StartupError(
            f"The token file {path} belongs to another user of this computer. Delete it, or choose another data folder."
        )
    if status.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        os.fchmod(descriptor, 0o600)
        logger.warning(
            "Other users of this computer could read %s; it is closed to them now. If they may have done so, delete "
            "it and start again to have a new token made.",
            path,
        )
