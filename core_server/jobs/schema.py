"""Shape of the job database: every migration ever made, in order. A released one is never changed, only followed."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path

from core_server.errors import StartupError

MIGRATIONS = (
    """
    CREATE TABLE jobs (
        seq INTEGER PRIMARY KEY AUTOINCREMENT,      -- order of acceptance
        job_id TEXT NOT NULL UNIQUE,
        owner TEXT NOT NULL,
        request_id TEXT NOT NULL,
        state TEXT NOT NULL,
        request TEXT NOT NULL,                      -- JSON of pipelines.request.Request
        create_time REAL NOT NULL,                  -- seconds since the epoch, UTC
        start_time REAL,
        end_time REAL,
        attempts INTEGER NOT NULL DEFAULT 0,        -- how often it was started
        crashes INTEGER NOT NULL DEFAULT 0,         -- how often a process died under it
        cancel_requested INTEGER NOT NULL DEFAULT 0,
        failure TEXT,                               -- JSON of JobFailure
        UNIQUE (owner, request_id)
    ) STRICT;
    CREATE INDEX jobs_by_state ON jobs (state, seq);
    CREATE INDEX jobs_by_owner ON jobs (owner, seq);

    CREATE TABLE inputs (
        job_id TEXT NOT NULL REFERENCES jobs (job_id) ON DELETE CASCADE,
        image_id TEXT NOT NULL,
        PRIMARY KEY (job_id, image_id)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX inputs_by_image ON inputs (image_id);

    CREATE TABLE results (
        job_id TEXT NOT NULL REFERENCES jobs (job_id) ON DELETE CASCADE,
        position INTEGER NOT NULL,
        image_id TEXT NOT NULL,
        mask_id TEXT,
        body TEXT NOT NULL,                         -- JSON of JobResult
        PRIMARY KEY (job_id, position)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX results_by_image ON results (image_id);
    CREATE INDEX results_by_mask ON results (mask_id);

    CREATE TABLE events (                           -- state events; progress and previews are not kept
        job_id TEXT NOT NULL REFERENCES jobs (job_id) ON DELETE CASCADE,
        number INTEGER NOT NULL,
        body TEXT NOT NULL,                         -- JSON of JobEvent
        PRIMARY KEY (job_id, number)
    ) STRICT, WITHOUT ROWID;
    """,
    """
    ALTER TABLE jobs ADD COLUMN priority TEXT NOT NULL DEFAULT 'normal';
    ALTER TABLE jobs ADD COLUMN client TEXT NOT NULL DEFAULT '';

    CREATE TABLE uploads (                          -- who may see an image, beside those whose jobs took or gave it
        image_id TEXT NOT NULL,
        owner TEXT NOT NULL,
        PRIMARY KEY (image_id, owner)
    ) STRICT, WITHOUT ROWID;
    """,
)


def check_version(database: sqlite3.Connection) -> int:
    """The version of a database, 0 for an empty one. Errors: StartupError for a newer one, which stays untouched."""
    (version,) = database.execute("PRAGMA user_version").fetchone()
    if version > len(MIGRATIONS):
        raise StartupError(
            f"The job database was made by a newer Scumble (schema {version}, this one knows {len(MIGRATIONS)}); "
            "update Scumble or use another --data-dir."
        )
    return int(version)


def migrate(database: sqlite3.Connection, path: Path) -> None:
    """Brings a database, new or old, to the newest shape; each migration is one transaction.

    An old one is copied first, to "<path>.schema-<version>", so that the version before can be put back.
    Errors: StartupError for a database of a newer version.
    """
    version = check_version(database)
    if 0 < version < len(MIGRATIONS):
        _copy(database, path.with_name(f"{path.name}.schema-{version}"))
    for number, script in enumerate(MIGRATIONS[version:], version + 1):
        try:
            database.executescript(f"BEGIN; {script}; PRAGMA user_version = {number}; COMMIT;")
        finally:
            if database.in_transaction:
                database.execute("ROLLBACK")


def _copy(database: sqlite3.Connection, path: Path) -> None:
    """Whole or not at all."""
    draft = path.with_name(f"{path.name}.part")
    draft.unlink(missing_ok=True)
    os.close(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    with closing(sqlite3.connect(draft)) as copy:
        database.backup(copy)
    draft.replace(path)
