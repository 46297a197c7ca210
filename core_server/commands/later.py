"""What commands of a later version answer."""

from __future__ import annotations

import argparse
from collections.abc import Callable

from core_server.commands.errors import NotInThisVersion


def not_yet(what: str) -> Callable[[argparse.Namespace], int]:
    """A `run` that ends with one clear line."""

    def run(options: argparse.Namespace) -> int:
        raise NotInThisVersion(what)

    return run
