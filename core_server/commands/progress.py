"""Waits for a job: a bar with the time left on a terminal, nothing elsewhere; Ctrl-C cancels the job."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskProgressColumn, TextColumn

from scumble.client import Job, JobState, Patch, ScumbleError

CANCEL_SECONDS = 10.0


def wait(job: Job) -> list[Patch]:
    """The job's pictures. Raises its error; on KeyboardInterrupt cancels it and raises that again."""
    with cancelling(job):
        follow(job)
        return job.result()


@contextmanager
def cancelling(job: Job) -> Iterator[None]:
    """Cancels the job, and waits for its end, if the block is interrupted."""
    try:
        yield
    except KeyboardInterrupt:
        # Whatever is wrong now, the artist wants to leave.
        with suppress(ScumbleError):
            job.cancel()
            job.result(timeout=CANCEL_SECONDS)
        raise


def follow(job: Job, after: int = 0) -> None:
    """Shows the job's events until its end."""
    console = Console(stderr=True)
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[left]}"),
    )
    with Progress(
        *columns, console=console, transient=True, disable=not console.is_terminal
    ) as bar:
        task = bar.add_task("Waiting", total=None, left="")
        for event in job.watch(after):
            if event.progress is not None:
                progress = event.progress
                bar.update(
                    task,
                    description=progress.stage or "Painting",
                    total=progress.steps or None,
                    completed=progress.step,
                    left=_left(progress.remaining_seconds),
                )
            elif event.state is JobState.QUEUED and event.queue_position:
                bar.update(task, description=f"Waiting behind {event.queue_position}")
            elif event.state is JobState.RUNNING:
                bar.update(task, description="Starting")


def _left(seconds: float | None) -> str:
    if seconds is None:
        return ""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02d} left"
