"""scumble jobs: what is queued, running and done on the server."""

from __future__ import annotations

import argparse
import dataclasses
import json
from datetime import datetime
from typing import TYPE_CHECKING, Any

from core_server.commands.options import Subparsers, add_command, add_server_options

if TYPE_CHECKING:
    from scumble.client import JobStatus

STATES = ("queued", "running", "succeeded", "failed", "cancelled")
_EXAMPLES = """\
  scumble jobs list --state running
  scumble jobs watch 3f2a...       an unambiguous beginning of the id is enough
  scumble jobs cancel 3f2a...
"""


def register(subparsers: Subparsers) -> None:
    """Adds the command and its actions."""
    group = add_command(
        subparsers, "jobs", _list, "list, watch, cancel and show jobs", examples=_EXAMPLES
    )
    actions = group.add_subparsers(title="actions", metavar="ACTION", required=True)
    listing = add_command(actions, "list", _list, "list the newest jobs")
    listing.add_argument(
        "--state", choices=STATES, action="append", help="only these; may be repeated"
    )
    listing.add_argument(
        "--limit", type=int, default=20, metavar="N", help="at most so many (default 20)"
    )
    add_server_options(listing)
    for name, run, summary in (
        ("watch", _watch, "follow a job to its end"),
        ("cancel", _cancel, "ask for a job's end"),
        ("show", _show, "show all about a job"),
    ):
        parser = add_command(actions, name, run, summary)
        parser.add_argument("job_id", metavar="ID", help="the job, or the beginning of its id")
        add_server_options(parser)


def _list(options: argparse.Namespace) -> int:
    from core_server.commands.session import connected  # noqa: PLC0415
    from scumble.client import JobState  # noqa: PLC0415

    states = [JobState(name) for name in options.state or ()]
    with connected(options) as client:
        found = client.jobs(states, options.limit)
    if options.json:
        print(json.dumps([_entry(status) for status in found]))
        return 0
    for status in found:
        when = f"{status.create_time.astimezone():%Y-%m-%d %H:%M}" if status.create_time else ""
        print(
            f"{status.job_id}  {status.state:9}  {when:16}  {status.task:14}  {_shortened(status.prompt)}"
        )
    return 0


def _watch(options: argparse.Namespace) -> int:
    from core_server.commands.progress import follow  # noqa: PLC0415
    from core_server.commands.session import connected  # noqa: PLC0415

    with connected(options) as client:
        job = client.job(_whole_id(client, options.job_id))
        # Somebody else's command may wait for this job: leaving does not cancel it.
        follow(job)
        status = job.status()
    _tell(status, options.json)
    if status.error is not None:
        raise status.error
    return 0


def _cancel(options: argparse.Namespace) -> int:
    from core_server.commands.session import connected  # noqa: PLC0415

    with connected(options) as client:
        job = client.job(_whole_id(client, options.job_id))
        job.cancel()
        for _ in job.watch():
            pass
        _tell(job.status(), options.json)
    return 0


def _show(options: argparse.Namespace) -> int:
    from core_server.commands.session import connected  # noqa: PLC0415

    with connected(options) as client:
        status = client.job(_whole_id(client, options.job_id)).status()
    if options.json:
        print(json.dumps(_entry(status)))
        return 0
    for name, value in _entry(status).items():
        if value not in (None, "", ()):
            shown = ", ".join(map(str, value)) if isinstance(value, tuple) else value
            print(f"{name:18} {shown}")
    return 0


def _whole_id(client: Any, beginning: str) -> str:
    """The one job whose id begins so; what is given, where none or several do: the server says what is wrong."""
    found = [
        status.job_id for status in client.jobs(limit=1000) if status.job_id.startswith(beginning)
    ]
    return found[0] if len(found) == 1 else beginning


def _tell(status: JobStatus, as_json: bool) -> None:
    print(json.dumps(_entry(status)) if as_json else f"{status.job_id}  {status.state}")


def _entry(status: JobStatus) -> dict[str, Any]:
    """All about a job, as plain values."""
    values: dict[str, Any] = {}
    for field in dataclasses.fields(status):
        value = getattr(status, field.name)
        if isinstance(value, datetime):
            value = value.isoformat()
        elif isinstance(value, Exception):
            value = str(value)
        elif dataclasses.is_dataclass(value) and not isinstance(value, type):
            value = dataclasses.asdict(value)
        values[field.name] = value
    return values


def _shortened(text: str, most: int = 48) -> str:
    line = " ".join(text.split())
    return line if len(line) <= most else f"{line[: most - 1]}…"
