"""The named steps of every write, told as they are reached.

In service nobody listens. The crash harness (`tests/crash`) does: it ends the process at a step, or raises there what a
full or read-only disk would. A step's name says what has just been done.
"""

from __future__ import annotations

from collections.abc import Callable

Reached = Callable[[str], None]

BLOB_STEPS = ("blob.opened", "blob.written", "blob.synced", "blob.renamed")
"""Of an image on its way to disk."""
INSERT_STEPS = ("insert.begun", "insert.written", "insert.committed")
"""Of a job on its way in."""
UPDATE_STEPS = ("update.begun", "update.written", "update.committed")
"""Of a change of state, results included."""
OTHER_STEPS = ("results.kept", "grant.committed")
"""Results are on disk and the job does not say so yet; an upload has its owner."""
STEPS = (*BLOB_STEPS, *INSERT_STEPS, *UPDATE_STEPS, *OTHER_STEPS)


def nobody(step: str) -> None:
    """Listens to nothing."""
