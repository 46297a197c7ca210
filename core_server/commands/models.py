"""scumble models: what can be painted with, and bringing more of it here."""

from __future__ import annotations

import argparse
import dataclasses
import json

from core_server.commands.errors import CommandError
from core_server.commands.options import Subparsers, add_command, add_server_options

_EXAMPLES = """\
  scumble models list --all                       also what can be installed, and what fits this device
  scumble models install sdxl
  scumble models install OWNER/NAME               a Hub model; OWNER/NAME/FILE.safetensors for one file of it
  scumble models install ~/Downloads/style.safetensors --name my-style
  scumble models adapters --model sdxl
  scumble models remove sdxl
"""
_SOURCES = (
    "an id of `models list --all`, OWNER/NAME[/FILE][@REVISION] of a Hub model, an https address, "
    "a .safetensors or .gguf file, or a diffusers folder"
)
GIB = 2**30
_USES = {
    "model": "--model {}",
    "lora": "--lora {}",
    "controlnet": "--control KIND=IMAGE",
    "reference": "--reference IMAGE",
}


def register(subparsers: Subparsers) -> None:
    """Adds the command and its actions."""
    group = add_command(
        subparsers, "models", _list, "list, install and remove models", examples=_EXAMPLES
    )
    actions = group.add_subparsers(title="actions", metavar="ACTION", required=True)
    listed = add_command(actions, "list", _list, "list the installed models")
    listed.add_argument("--all", action="store_true", help="also those that can be installed")
    add_server_options(listed)
    info = add_command(actions, "info", _info, "tell all about a model and its schedulers")
    info.add_argument("model_id", metavar="ID")
    add_server_options(info)
    install = add_command(actions, "install", _install, "install a model or what works beside one")
    install.add_argument("source", metavar="ID|HUB_ID|URL|PATH", help=_SOURCES)
    install.add_argument("--name", default="", help="the name to install under")
    install.add_argument(
        "--yes", action="store_true", help="I accept the licence; do not ask before it starts"
    )
    add_server_options(install)
    remove = add_command(actions, "remove", _remove, "delete an installed model or adapter")
    remove.add_argument("model_id", metavar="ID")
    add_server_options(remove)
    adapters = add_command(actions, "adapters", _adapters, "list LoRAs and textual inversions")
    adapters.add_argument("--model", default="", metavar="ID", help="only those that fit it")
    add_server_options(adapters)
    for name, run, text in (
        ("load", _load, "load a model before it is needed"),
        ("unload", _unload, "give a model's memory back"),
    ):
        action = add_command(actions, name, run, text)
        action.add_argument("model_id", metavar="ID")
        add_server_options(action)


def _list(options: argparse.Namespace) -> int:
    from core_server.commands.session import connected  # noqa: PLC0415

    with connected(options) as client:
        models = client.models(include_available=options.all)
        unusable = client.unusable_models()
    if options.json:
        print(json.dumps([dataclasses.asdict(model) for model in models]))
        return 0
    for model in models:
        mark = "*" if model.is_default else "+" if model.recommended else " "
        size = f"{_size(model.size_bytes):>9}"
        use = "commercial" if model.commercial_use else "not commercial, or unknown"
        print(f"{mark} {model.model_id:20} {model.state:10} {size}  {model.title}")
        tasks = ", ".join(model.tasks) or model.kind
        needs = f"; for {model.memory_bytes // GIB} GiB and more" if model.memory_bytes else ""
        print(f"  {'':20} {tasks}; {model.license} ({use}){needs}")
    for name, reason in unusable.items():
        print(f"! {name:20} {reason}")
    print("\n* is used when a command names no model.")
    if options.all:
        print("+ can be installed and suits the memory of this server's device.")
    return 0


def _size(number: int) -> str:
    """Bytes for people; "" where they are not known."""
    if number < GIB / 10:
        return (
            f"{max(number / 2**20, 0.1):.{1 if number < 10 * 2**20 else 0}f} MiB" if number else ""
        )
    return f"{number / GIB:.1f} GiB"


def _info(options: argparse.Namespace) -> int:
    from core_server.commands.session import connected  # noqa: PLC0415

    with connected(options) as client:
        models = {model.model_id: model for model in client.models(include_available=True)}
        if options.model_id not in models:
            if reason := client.unusable_models().get(options.model_id):
                raise CommandError(reason)
            raise CommandError(
                f"There is no model {options.model_id!r} here. There are: {', '.join(models)}."
            )
        entry = dataclasses.asdict(models[options.model_id])
        if models[options.model_id].state != "available":
            entry["schedulers"] = [it.name for it in client.schedulers(options.model_id)]
    if options.json:
        print(json.dumps(entry))
        return 0
    for name, value in entry.items():
        if name.endswith("_extent"):
            text = " x ".join(map(str, value)) if value else ""
        else:
            text = ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
        print(f"{name:20} {text}")
    return 0


def _install(options: argparse.Namespace) -> int:
    from pathlib import Path  # noqa: PLC0415

    from core_server.commands.installing import confirm, follow  # noqa: PLC0415
    from core_server.commands.session import connected  # noqa: PLC0415

    source = options.source
    path = Path(source).expanduser()
    if path.is_file() or any((path / it).is_file() for it in ("model_index.json", "config.json")):
        source = str(path.resolve())
    with connected(options) as client:
        plan = client.install_plan(source, options.name)
        if not options.json:
            print(
                f"{plan.model.title} ({_size(plan.size_bytes) or 'unknown size'}) as {plan.model.model_id}"
            )
            print(f"Licence {plan.license_note}{f' - {plan.url}' if plan.url else ''}")
        if not options.yes:
            confirm(plan)
        model = follow(client.install(source, options.name, accept_license=True))
    if options.json:
        print(json.dumps(dataclasses.asdict(model)))
    else:
        flag = _USES.get(model.kind, "").format(model.model_id)
        hint = f"; use it with {flag}" if flag else ""
        print(f"Installed {model.model_id}{hint}.")
    return 0


def _remove(options: argparse.Namespace) -> int:
    from core_server.commands.session import connected  # noqa: PLC0415

    with connected(options) as client:
        freed = client.remove_model(options.model_id)
    if options.json:
        print(json.dumps({"model_id": options.model_id, "freed_bytes": freed}))
    else:
        print(f"Removed {options.model_id}; {_size(freed)} are free again.")
    return 0


def _adapters(options: argparse.Namespace) -> int:
    from core_server.commands.session import connected  # noqa: PLC0415

    model, options.model = options.model, ""
    with connected(options) as client:
        found = client.adapters(model)
    if options.json:
        print(json.dumps([dataclasses.asdict(adapter) for adapter in found]))
        return 0
    for adapter in found:
        words = f"  ({', '.join(adapter.trigger_words)})" if adapter.trigger_words else ""
        family = adapter.family or "any family?"
        print(f"{adapter.name:28} {adapter.kind:18} {family:22}{words}")
    if not found:
        print("There is none yet; put .safetensors files into the data folder's `adapters`.")
    return 0


def _load(options: argparse.Namespace) -> int:
    from core_server.commands.session import connected  # noqa: PLC0415

    with connected(options) as client:
        model = client.load_model(options.model_id)
    print(json.dumps(dataclasses.asdict(model)) if options.json else f"Loaded {model.title}.")
    return 0


def _unload(options: argparse.Namespace) -> int:
    from core_server.commands.session import connected  # noqa: PLC0415

    with connected(options) as client:
        model = client.unload_model(options.model_id)
    print(json.dumps(dataclasses.asdict(model)) if options.json else f"Unloaded {model.title}.")
    return 0
