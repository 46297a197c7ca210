"""Who may call: the computer's own token in `token`, and named ones in `tokens.json`.

Of a named token only its SHA-256 is kept: it has 256 random bits, so there is nothing to guess and no need to stretch.
A token's owner is what its jobs and images belong to; it outlives the token when that is rotated.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import secrets
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, Literal

import filelock
import msgspec

from core_server.errors import StartupError
from core_server.rpc.token import (
    TOKEN_BYTES,
    TOKEN_FILE,
    owner_of,
    read_or_create_token,
    write_private,
)

TOKENS_FILE = "tokens.json"
MAIN = "main"
USE: Final = "use"
ADMIN: Final = "admin"
Scope = Literal["use", "admin"]

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_LOOK_SECONDS = 0.5
_MAX_FILE_BYTES = 4 * 1024 * 1024


class Caller(msgspec.Struct, frozen=True):
    """Whom a token stands for. owner: what jobs and images belong to. digest: SHA-256 of the token, hex."""

    name: str
    owner: str
    scopes: tuple[Scope, ...]
    digest: str

    def may(self, scope: str) -> bool:
        """Whether the token has a scope."""
        return scope in self.scopes


class NamedToken(msgspec.Struct, frozen=True, kw_only=True):
    """What is kept of a token. digest: SHA-256 of it, hex. create_time: seconds since the epoch."""

    name: str
    owner: str
    scopes: tuple[Scope, ...]
    digest: str
    create_time: float


class _File(msgspec.Struct, kw_only=True):
    """main_owner: the owner behind the computer's own token, once that has been rotated; "" before."""

    version: Literal[1] = 1
    main_owner: str = ""
    tokens: tuple[NamedToken, ...] = ()


class TokenBook:
    """The tokens of a data folder. Changes made by another process count within a second.

    Errors of all methods: StartupError for files that are not ours or broken; when that happens to a running server,
    the tokens read before go on being valid.
    """

    def __init__(self, data_dir: Path) -> None:
        self._data_dir = data_dir
        self._lock = filelock.FileLock(data_dir / "tokens.lock", timeout=10, mode=0o600)
        self._main_digest = ""
        self._file = _File()
        self._seen: tuple[object, ...] = ()
        self._looked = -_LOOK_SECONDS
        read_or_create_token(data_dir)
        self._read()

    def find(self, given: str) -> Caller | None:
        """Whom a token stands for; takes the same time for all that stand for nobody."""
        self._look()
        digest = _digest(given)
        found: Caller | None = None
        if hmac.compare_digest(digest, self._main_digest):
            found = self.main
        for token in self._file.tokens:
            if hmac.compare_digest(digest, token.digest):
                found = _caller_of(token)
        return found

    def still_counts(self, caller: Caller) -> bool:
        """Whether the token behind a call of before is there yet, and may do what it might."""
        self._look()
        return caller == self.main or any(caller == _caller_of(it) for it in self._file.tokens)

    @property
    def main(self) -> Caller:
        """Whoever can read this computer's token file."""
        return Caller(MAIN, self._file.main_owner, (USE, ADMIN), self._main_digest)

    def names(self) -> tuple[NamedToken, ...]:
        """All named tokens, in order of their making."""
        self._read()
        return self._file.tokens

    def add(self, name: str, scopes: tuple[Scope, ...] = (USE,)) -> str:
        """Makes a token and returns it; it cannot be read again. Errors: StartupError for a name that is taken."""
        if name == MAIN or not _NAME.fullmatch(name):
            raise StartupError(
                f"A token cannot be called {name!r}; use up to 64 letters, digits, '.', '_' and '-', and not {MAIN!r}."
            )
        token = _new_token()
        owner = owner_of(secrets.token_urlsafe(TOKEN_BYTES))

        def change(file: _File) -> None:
            if any(it.name == name for it in file.tokens):
                raise StartupError(
                    f"There is a token {name!r} already; remove or rotate it, or choose another name."
                )
            file.tokens += (
                NamedToken(
                    name=name,
                    owner=owner,
                    scopes=scopes,
                    digest=_digest(token),
                    create_time=time.time(),
                ),
            )

        self._change(change)
        return token

    def remove(self, name: str) -> None:
        """A token counts no more; its jobs and images stay until they expire. Errors: StartupError if there is none."""

        def change(file: _File) -> None:
            self._named(file, name)
            file.tokens = tuple(it for it in file.tokens if it.name != name)

        self._change(change)

    def rotate(self, name: str = MAIN) -> str:
        """A new token in place of an old one, with the same owner and scopes; the old one counts no more."""
        token = _new_token()
        if name == MAIN:
            with self._lock:
                self._read()
                # The owner first: a crash in between leaves the old token with its jobs.
                self._write(msgspec.structs.replace(self._file, main_owner=self.main.owner))
                write_private(self._data_dir / TOKEN_FILE, token + "\n")
                self._read()
            return token

        def change(file: _File) -> None:
            self._named(file, name)
            file.tokens = tuple(
                msgspec.structs.replace(it, digest=_digest(token)) if it.name == name else it
                for it in file.tokens
            )

        self._change(change)
        return token

    @staticmethod
    def _named(file: _File, name: str) -> None:
        if not any(it.name == name for it in file.tokens):
            there = ", ".join(it.name for it in file.tokens) or "none"
            raise StartupError(f"There is no token {name!r}; there are: {there}.")

    def _change(self, change: Callable[[_File], None]) -> None:
        with self._lock:
            self._read()
            file = msgspec.structs.replace(self._file)
            change(file)
            self._write(file)
            self._read()

    def _write(self, file: _File) -> None:
        text = msgspec.json.format(msgspec.json.encode(file)).decode()
        write_private(self._data_dir / TOKENS_FILE, text + "\n")

    # --- reading

    def _look(self) -> None:
        now = time.monotonic()
        if now - self._looked < _LOOK_SECONDS:
            return
        self._looked = now
        if self._stamps() != self._seen:
            self._read()

    def _stamps(self) -> tuple[object, ...]:
        stamps: list[object] = []
        for name in (TOKEN_FILE, TOKENS_FILE):
            try:
                status = (self._data_dir / name).stat()
                stamps.append((status.st_mtime_ns, status.st_ino, status.st_size))
            except OSError:
                stamps.append(None)
        return tuple(stamps)

    def _read(self) -> None:
        seen = self._stamps()
        main = read_or_create_token(self._data_dir)
        file = self._read_file()
        file.main_owner = file.main_owner or owner_of(main)
        self._main_digest, self._file, self._seen = _digest(main), file, seen

    def _read_file(self) -> _File:
        path = self._data_dir / TOKENS_FILE
        try:
            descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0))
        except FileNotFoundError:
            return _File()
        except OSError as error:
            raise StartupError(
                f"The token file {path} cannot be read ({error.strerror})."
            ) from error
        with os.fdopen(descriptor, "rb") as opened:
            try:
                return msgspec.json.decode(opened.read(_MAX_FILE_BYTES), type=_File)
            except msgspec.DecodeError as error:
                raise StartupError(
                    f"The token file {path} is broken ({error}). Take it from a backup, or delete it: then only the "
                    f"token in {TOKEN_FILE!r} counts."
                ) from error


def _caller_of(token: NamedToken) -> Caller:
    return Caller(token.name, token.owner, token.scopes, token.digest)


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "replace")).hexdigest()


def _new_token() -> str:
    return secrets.token_urlsafe(TOKEN_BYTES)
