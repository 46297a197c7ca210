"""Shape of the job database: every migration ever made, in order. A released one is never changed, only followed."""

from __future__ import annotations

import sqlite3

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


def migrate(database: sqlite3.Connection) -> None:
    """Brings a database, new or old, to the newest shape; each migration is one transaction.

    Errors: StartupError for a database of a newer version.
    """
    (version,) = database.execute("PRAGMA user_version").fetchone()
    if version > len(MIGRATIONS):
        raise StartupError(
            f"The job database was made by a newer Scumble (schema {version}, this one knows {len(MIGRATIONS)}); "
            "update Scumble or use another --data-dir."
        )
    for number, script in enumerate(MIGRATIONS[version:], version + 1):
        database.executescript(f"BEGIN; {script}; PRAGMA user_version = {number}; COMMIT;")
