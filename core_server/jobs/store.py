"""The durable side of jobs: SQLite in WAL mode. Every method is one transaction, on disk when it returns.

Two wait for less: what they have written survives the process when they return, and a power cut a moment later
(`update` to RUNNING) or from the next transaction on (`grant`).

All methods belong to one thread, that of the caller's executor; `Store` keeps no state of its own.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any

import msgspec

from core_server.jobs import schema
from core_server.jobs.checkpoints import Reached, nobody
from core_server.jobs.job import Job, JobEvent, JobFailure, JobResult, JobState, Priority
from core_server.pipelines.request import Request, image_ids

_COLUMNS = (
    "seq, job_id, owner, request_id, state, request, create_time, start_time, end_time, attempts, failure, "
    "priority, client"
)
_ACTIVE = (JobState.QUEUED, JobState.RUNNING)
_FINAL = tuple(state for state in JobState if state.is_final)

_requests: msgspec.json.Decoder[Request] = msgspec.json.Decoder(Request)
_results = msgspec.json.Decoder(JobResult)
_events = msgspec.json.Decoder(JobEvent)
_failures = msgspec.json.Decoder(JobFailure)


class Unfinished(msgspec.Struct, frozen=True):
    """A job found queued or running when the store was opened."""

    job: Job
    crashes: int
    cancel_requested: bool
    events: list[JobEvent]


class Store:
    """Jobs, results and events in `path`. Errors when opened: StartupError, sqlite3.DatabaseError."""

    def __init__(self, path: Path, reached: Reached = nobody) -> None:
        self._reached = reached
        self._log = path.with_name(f"{path.name}-wal")
        self._background = ThreadPoolExecutor(1, thread_name_prefix="sync-log")
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
        # The opener's thread and the executor's are never in it at the same time.
        self._database = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        try:
            schema.check_version(self._database)
            self._database.execute("PRAGMA journal_mode = WAL")
            self._database.execute("PRAGMA synchronous = FULL")
            self._database.execute("PRAGMA foreign_keys = ON")
            # KiB. Rows are found by key; a cache that fills over weeks would only look like a leak.
            self._database.execute("PRAGMA cache_size = -512")
            schema.migrate(self._database, path)
        except BaseException:
            self._database.close()
            raise

    def close(self) -> None:
        """Folds the log into the database."""
        self._background.shutdown()
        self._database.close()

    # --- writing

    def insert(self, job: Job, event: JobEvent) -> None:
        """Accepts a job. Errors: sqlite3.IntegrityError if (owner, request_id) is there."""
        with self._transaction("insert"):
            self._database.execute(
                "INSERT INTO jobs (job_id, owner, request_id, state, request, create_time, priority, client) "
                "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    job.job_id,
                    job.owner,
                    job.request_id,
                    job.state,
                    _text(job.request),
                    job.create_time,
                    job.priority,
                    job.client,
                ),
            )
            self._database.executemany(
                "INSERT OR IGNORE INTO inputs VALUES (?, ?)",
                [(job.job_id, image_id) for image_id in image_ids(job.request)],
            )
            self._insert_event(job.job_id, event)

    def update(self, job: Job, event: JobEvent, *, crashed: bool = False) -> None:
        """A job entered the state it is in now; its results are added, if it has any.

        The device does not wait for the disk: that a job runs is needed only by a start after this server has died.
        """
        is_begun = job.state is JobState.RUNNING
        with self._unsynced() if is_begun else nullcontext(), self._transaction("update"):
            self._database.execute(
                "UPDATE jobs SET state = ?, start_time = ?, end_time = ?, attempts = ?, failure = ?, "
                "crashes = crashes + ? WHERE job_id = ?",
                (
                    job.state,
                    job.start_time,
                    job.end_time,
                    job.attempts,
                    None if job.failure is None else _text(job.failure),
                    int(crashed),
                    job.job_id,
                ),
            )
            self._database.executemany(
                "INSERT INTO results VALUES (?, ?, ?, ?, ?)",
                [
                    (
                        job.job_id,
                        position,
                        result.image.image_id,
                        result.composite_mask and result.composite_mask.image_id,
                        _text(result),
                    )
                    for position, result in enumerate(job.results)
                ],
            )
            self._insert_event(job.job_id, event)
        if is_begun:
            self._background.submit(self._sync_log)

    def grant(self, owner: str, image_id: str) -> None:
        """An owner may see an image from now on.

        Written, so that it survives the process, and synced with the next job: before an upload is part of an accepted
        job nobody has promised that it survives a power cut.
        """
        if not self.may_see(owner, image_id):
            with self._unsynced():
                self._database.execute("INSERT INTO uploads VALUES (?, ?)", (image_id, owner))
            self._reached("grant.committed")

    def forget_uploads(self, image_ids: Iterable[str]) -> None:
        """These images are gone."""
        with self._transaction("forget"):
            self._database.executemany(
                "DELETE FROM uploads WHERE image_id = ?", [(image_id,) for image_id in image_ids]
            )

    def request_cancel(self, job_id: str) -> None:
        """Remembers the wish, so that a restart does not run the job again."""
        self._database.execute("UPDATE jobs SET cancel_requested = 1 WHERE job_id = ?", (job_id,))

    def delete(self, job_id: str) -> None:
        """Forgets a job with its results and events."""
        self._database.execute("DELETE FROM jobs WHERE job_id = ?", (job_id,))

    def forget_results(self, job_id: str) -> None:
        """A finished job keeps its row and loses its images."""
        self._database.execute("DELETE FROM results WHERE job_id = ?", (job_id,))

    # --- reading

    def find(self, job_id: str) -> Job | None:
        """One job."""
        return self._one("job_id = ?", job_id)

    def find_request(self, owner: str, request_id: str) -> Job | None:
        """The job that a client's request became."""
        return self._one("owner = ? AND request_id = ?", owner, request_id)

    def page(
        self, owner: str, states: Iterable[JobState], limit: int, before: int | None
    ) -> tuple[list[Job], int | None]:
        """Newest first, accepted before position `before`; and the next page's `before`, if there is one."""
        wanted = tuple(states) or tuple(JobState)
        rows = self._database.execute(
            f"SELECT {_COLUMNS} FROM jobs WHERE owner = ? AND seq < ? AND state IN ({_marks(wanted)}) "  # noqa: S608
            "ORDER BY seq DESC LIMIT ?",
            (owner, 2**62 if before is None else before, *wanted, limit + 1),
        ).fetchall()
        more = len(rows) > limit
        return [self._job(row) for row in rows[:limit]], rows[limit - 1][0] if more else None

    def events(self, job_id: str, after: int) -> list[JobEvent]:
        """State events with larger numbers, in order."""
        rows = self._database.execute(
            "SELECT body FROM events WHERE job_id = ? AND number > ? ORDER BY number",
            (job_id, after),
        )
        return [_events.decode(body) for (body,) in rows]

    def unfinished(self) -> list[Unfinished]:
        """Every queued or running job, in order of acceptance."""
        rows = self._database.execute(
            f"SELECT {_COLUMNS}, crashes, cancel_requested FROM jobs WHERE state IN ({_marks(_ACTIVE)}) ORDER BY seq",  # noqa: S608
            _ACTIVE,
        ).fetchall()
        return [
            Unfinished(self._job(row), row[-2], bool(row[-1]), self.events(row[1], 0))
            for row in rows
        ]

    def finished_before(self, time: float) -> list[str]:
        """Ids of the jobs that ended before a time."""
        rows = self._database.execute(
            f"SELECT job_id FROM jobs WHERE state IN ({_marks(_FINAL)}) AND end_time < ?",  # noqa: S608
            (*_FINAL, time),
        )
        return [job_id for (job_id,) in rows]

    def oldest_with_results(self) -> str | None:
        """Id of the job that ended first among those that still have images."""
        row = self._database.execute(
            "SELECT job_id FROM jobs WHERE EXISTS (SELECT 1 FROM results WHERE results.job_id = jobs.job_id) "
            "ORDER BY end_time, seq LIMIT 1"
        ).fetchone()
        return None if row is None else str(row[0])

    def images_of(self, job_id: str) -> set[str]:
        """Ids of the images that a job took and gave."""
        rows = self._database.execute(
            "SELECT image_id FROM inputs WHERE job_id = :job UNION SELECT image_id FROM results WHERE job_id = :job "
            "UNION SELECT mask_id FROM results WHERE job_id = :job AND mask_id IS NOT NULL",
            {"job": job_id},
        )
        return {image_id for (image_id,) in rows}

    def may_see(self, owner: str, image_id: str) -> bool:
        """Whether an owner uploaded an image, or a job of theirs took or gave it."""
        (seen,) = self._database.execute(
            "SELECT EXISTS (SELECT 1 FROM uploads WHERE image_id = :image AND owner = :owner) "
            "OR EXISTS (SELECT 1 FROM results JOIN jobs USING (job_id) "
            "WHERE (image_id = :image OR mask_id = :image) AND owner = :owner) "
            "OR EXISTS (SELECT 1 FROM inputs JOIN jobs USING (job_id) WHERE image_id = :image AND owner = :owner)",
            {"image": image_id, "owner": owner},
        ).fetchone()
        return bool(seen)

    def needed_images(self) -> set[str]:
        """Ids of the images that some result shows or some unfinished job needs."""
        rows = self._database.execute(
            "SELECT image_id FROM results UNION SELECT mask_id FROM results WHERE mask_id IS NOT NULL "  # noqa: S608
            f"UNION SELECT image_id FROM inputs JOIN jobs USING (job_id) WHERE state IN ({_marks(_ACTIVE)})",
            _ACTIVE,
        )
        return {image_id for (image_id,) in rows}

    # --- rows

    @contextmanager
    def _unsynced(self) -> Iterator[None]:
        """Within the block transactions are written and not synced; the next one that is synced takes them along."""
        self._database.execute("PRAGMA synchronous = NORMAL")
        try:
            yield
        finally:
            self._database.execute("PRAGMA synchronous = FULL")

    def _sync_log(self) -> None:
        """On a thread of its own. SQLite holds no locks on the log, which closing it here would give up."""
        with (
            suppress(OSError),
            self._log.open("r+b") as log,
        ):  # whoever writes next hears of a broken disk
            os.fsync(log.fileno())

    def _transaction(self, name: str) -> _Transaction:
        return _Transaction(self._database, name, self._reached)

    def _insert_event(self, job_id: str, event: JobEvent) -> None:
        self._database.execute(
            "INSERT INTO events VALUES (?, ?, ?)", (job_id, event.number, _text(event))
        )

    def _one(self, where: str, *values: str) -> Job | None:
        row = self._database.execute(
            f"SELECT {_COLUMNS} FROM jobs WHERE {where}",  # noqa: S608
            values,
        ).fetchone()
        return None if row is None else self._job(row)

    def _job(self, row: Sequence[Any]) -> Job:
        (
            _,
            job_id,
            owner,
            request_id,
            state,
            request,
            created,
            started,
            ended,
            attempts,
            failure,
            priority,
            client,
        ) = row[:13]
        (last,) = self._database.execute(
            "SELECT max(number) FROM events WHERE job_id = ?", (job_id,)
        ).fetchone()
        results = self._database.execute(
            "SELECT body FROM results WHERE job_id = ? ORDER BY position", (job_id,)
        )
        return Job(
            job_id=job_id,
            owner=owner,
            request_id=request_id,
            state=JobState(state),
            request=_requests.decode(request),
            create_time=created,
            start_time=started,
            end_time=ended,
            attempts=attempts,
            failure=None if failure is None else _failures.decode(failure),
            results=tuple(_results.decode(body) for (body,) in results),
            last_event_number=last or 0,
            priority=Priority(priority),
            client=client,
        )


class _Transaction:
    def __init__(self, database: sqlite3.Connection, name: str, reached: Reached) -> None:
        self._database = database
        self._name = name
        self._reached = reached

    def __enter__(self) -> None:
        self._database.execute("BEGIN IMMEDIATE")
        try:
            self._reached(f"{self._name}.begun")
        except BaseException:
            self._database.execute("ROLLBACK")
            raise

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None:
                self._reached(f"{self._name}.written")
                self._database.execute("COMMIT")
        finally:
            if self._database.in_transaction:  # a full disk may have ended it already
                self._database.execute("ROLLBACK")
        if kind is None:
            self._reached(f"{self._name}.committed")


def _text(value: object) -> str:
    return msgspec.json.encode(value).decode()


def _marks(values: Sequence[object]) -> str:
    return ", ".join("?" * len(values))
