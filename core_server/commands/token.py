"""scumble token: who may use this computer's server."""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import TYPE_CHECKING

from core_server.commands.errors import CommandError
from core_server.commands.options import Subparsers, add_command
from core_server.config import data_dir_from_environment

if TYPE_CHECKING:
    from core_server.rpc.tokens import TokenBook

_EXAMPLES = """\
  scumble token list
  scumble token add ada --pair 192.168.1.20:47110    prints a code; on Ada's computer: scumble pair CODE
  scumble token rotate ada                           the old one counts no more
"""


def register(subparsers: Subparsers) -> None:
    """Adds the command and its actions."""
    group = add_command(
        subparsers,
        "token",
        _list,
        "list, add, remove and rotate tokens",
        examples=_EXAMPLES,
        description="Tokens decide who may use this computer's server. Jobs and images belong to the token they came "
        "with; no other sees them. A running server takes changes up within a second.",
    )
    actions = group.add_subparsers(title="actions", metavar="ACTION", required=True)
    listing = add_command(actions, "list", _list, "show the tokens; never their secrets")
    listing.add_argument("--json", action="store_true", help="print one JSON list, for programs")
    adding = add_command(actions, "add", _add, "make a token and print it, once")
    adding.add_argument("name", metavar="NAME", help="whose it is")
    adding.add_argument(
        "--admin", action="store_true", help="may also install and remove models and use any path"
    )
    removing = add_command(actions, "remove", _remove, "let a token count no more")
    removing.add_argument("name", metavar="NAME")
    rotating = add_command(
        actions, "rotate", _rotate, "put a new token in place of an old one; jobs stay its owner's"
    )
    rotating.add_argument(
        "name", metavar="NAME", nargs="?", default="main", help="this computer's own if left out"
    )
    for parser in (adding, rotating):
        parser.add_argument(
            "--pair",
            metavar="HOST:PORT",
            help="print a pairing code for another computer, which reaches the server there",
        )
    for parser in (listing, adding, removing, rotating):
        parser.add_argument("--data-dir", type=Path, metavar="DIR", help="the server's data folder")


def _book(options: argparse.Namespace) -> TokenBook:
    from core_server.rpc.tokens import TokenBook  # noqa: PLC0415 - `--help` does without it
    from core_server.serve import make_data_dir  # noqa: PLC0415

    data_dir = _data_dir(options)
    make_data_dir(data_dir)
    return TokenBook(data_dir)


def _data_dir(options: argparse.Namespace) -> Path:
    chosen: Path | None = options.data_dir
    return chosen or data_dir_from_environment()


def _list(options: argparse.Namespace) -> int:
    book = _book(options)
    entries: list[tuple[str, tuple[str, ...], float | None]] = [("main", ("use", "admin"), None)]
    entries += [(it.name, it.scopes, it.create_time) for it in book.names()]
    if options.json:
        told = [
            {"name": name, "scopes": scopes, "create_time": created}
            for name, scopes, created in entries
        ]
        print(json.dumps(told))
        return 0
    for name, scopes, created in entries:
        day = time.strftime("%Y-%m-%d", time.localtime(created)) if created else "this computer's"
        print(f"{name:24} {','.join(scopes):12} {day}")
    return 0


def _add(options: argparse.Namespace) -> int:
    token = _book(options).add(options.name, ("use", "admin") if options.admin else ("use",))
    _tell(options, token)
    return 0


def _remove(options: argparse.Namespace) -> int:
    _book(options).remove(options.name)
    print(f"The token {options.name} counts no more.")
    return 0


def _rotate(options: argparse.Namespace) -> int:
    token = _book(options).rotate(options.name)
    if options.name == "main" and not options.pair:
        print(
            f"There is a new token in {_data_dir(options) / 'token'}; the old one counts no more."
        )
    else:
        _tell(options, token)
    return 0


def _tell(options: argparse.Namespace, token: str) -> None:
    """The secret alone on stdout, so that it can be piped."""
    if not options.pair:
        print(token)
        return
    from core_server.rpc import certificate  # noqa: PLC0415
    from scumble.client.pairing import Pairing, pairing_from  # noqa: PLC0415

    data_dir = _data_dir(options)
    own, _ = certificate.read_or_create(data_dir)
    code = Pairing(options.pair, token, certificate.fingerprint(own.read_bytes())).code()
    try:
        pairing_from(code)
    except Exception as error:
        raise CommandError(
            f"{options.pair!r} is no address; give HOST:PORT as the other computer reaches this one."
        ) from error
    print(code)
