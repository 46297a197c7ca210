"""scumble models: what can be painted with."""

from __future__ import annotations

import argparse
import dataclasses
import json

from core_server.commands.errors import CommandError
from core_server.commands.later import not_yet
from core_server.commands.options import Subparsers, add_command, add_server_options

_EXAMPLES = """\
  scumble models list
  scumble models info default
"""


def register(subparsers: Subparsers) -> None:
    """Adds the command and its actions."""
    group = add_command(
        subparsers, "models", _list, "list models and tell about them", examples=_EXAMPLES
    )
    actions = group.add_subparsers(title="actions", metavar="ACTION", required=True)
    add_server_options(add_command(actions, "list", _list, "list the installed models"))
    info = add_command(actions, "info", _info, "tell all about a model and its schedulers")
    info.add_argument("model_id", metavar="ID")
    add_server_options(info)
    install = add_command(
        actions,
        "install",
        not_yet("Installing models"),
        "install a model (not in this version yet)",
    )
    install.add_argument("source", metavar="ID|URL|FILE")
    add_server_options(install)
    remove = add_command(
        actions, "remove", not_yet("Removing models"), "remove a model (not in this version yet)"
    )
    remove.add_argument("model_id", metavar="ID")
    add_server_options(remove)


def _list(options: argparse.Namespace) -> int:
    from core_server.commands.session import connected  # noqa: PLC0415

    with connected(options) as client:
        models = client.models()
    if options.json:
        print(json.dumps([dataclasses.asdict(model) for model in models]))
        return 0
    for model in models:
        mark = "*" if model.is_default else " "
        print(f"{mark} {model.model_id:16} {model.state:10} {model.license:16} {model.title}")
    print("\n* is used when a command names no model.")
    return 0


def _info(options: argparse.Namespace) -> int:
    from core_server.commands.session import connected  # noqa: PLC0415

    with connected(options) as client:
        models = {model.model_id: model for model in client.models()}
        if options.model_id not in models:
            raise CommandError(
                f"There is no model {options.model_id!r} here. There are: {', '.join(models)}."
            )
        schedulers = [scheduler.name for scheduler in client.schedulers(options.model_id)]
    entry = dataclasses.asdict(models[options.model_id]) | {"schedulers": schedulers}
    if options.json:
        print(json.dumps(entry))
        return 0
    for name, value in entry.items():
        if name.endswith("_extent"):
            text = " x ".join(map(str, value))
        else:
            text = ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
        print(f"{name:20} {text}")
    return 0
