"""Asks before an installation, and shows how far it is."""

from __future__ import annotations

import sys
from collections.abc import Iterator

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

from core_server.commands.errors import CommandError
from scumble.client import InstallPlan, InstallProgress, Model


def confirm(plan: InstallPlan) -> None:
    """Asks whether to go on. Errors: CommandError for a no, and where nobody can be asked."""
    if not sys.stdin.isatty():
        raise CommandError(
            "Read the licence above and accept it with --yes; nothing was installed."
        )
    answer = input(f"Install {plan.model.model_id} under this licence? [y/N] ")
    if answer.strip().lower() not in ("y", "yes"):
        raise CommandError("Nothing was installed.")


def follow(progress: Iterator[InstallProgress]) -> Model:
    """Shows a bar on a terminal, nothing elsewhere. Returns what was installed."""
    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(binary_units=True),
        TransferSpeedColumn(),
    )
    model: Model | None = None
    with Progress(
        *columns, console=console, transient=True, disable=not console.is_terminal
    ) as bar:
        task = bar.add_task("Starting", total=None)
        for told in progress:
            bar.update(
                task,
                description=told.stage,
                total=told.total_bytes or None,
                completed=told.done_bytes,
            )
            model = told.model or model
    if model is None:
        raise CommandError("The server ended the installation without a word; try it again.")
    return model
