"""What a command says when it cannot go on."""

from __future__ import annotations


class CommandError(Exception):
    """The message is the one line the artist sees."""


class NotInThisVersion(CommandError):
    """Planned, named in the help, not built yet."""

    def __init__(self, what: str) -> None:
        super().__init__(f"{what} is not in this version yet.")
