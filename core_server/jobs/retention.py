"""What is kept, and what goes first when there is too much. Runs on the store's thread."""

from __future__ import annotations

from collections.abc import Collection

from core_server.config import Limits
from core_server.jobs.blobs import BlobStore
from core_server.jobs.store import Store

FRESH_SECONDS = 3600.0
"""An upload that no job refers to is safe so long: its client is about to submit."""


def collect(store: Store, blobs: BlobStore, limits: Limits, now: float, room: int = 0) -> None:
    """Brings the store under its limits, with `room` bytes to spare if that can be.

    Jobs beyond their age go whole. For bytes: first uploads that nothing needs, then results, the longest finished
    first; never what a queued or running job needs.
    """
    oldest = now - limits.max_result_age_seconds
    for job_id in store.finished_before(oldest):
        forget(store, blobs, job_id)
    _discard(store, blobs, blobs.unused(store.needed_images(), oldest))

    def too_much() -> bool:
        return blobs.total_bytes + room > limits.max_store_bytes

    if too_much():
        for image_id in blobs.unused(store.needed_images(), now - FRESH_SECONDS):
            _discard(store, blobs, [image_id])
            if not too_much():
                return
    while too_much() and (eldest := store.oldest_with_results()) is not None:
        images = store.images_of(eldest)
        store.forget_results(eldest)
        _discard(store, blobs, images - store.needed_images())


def forget(store: Store, blobs: BlobStore, job_id: str) -> None:
    """Deletes a finished job and the images that were its alone."""
    images = store.images_of(job_id)
    store.delete(job_id)
    _discard(store, blobs, images - store.needed_images())


def _discard(store: Store, blobs: BlobStore, image_ids: Collection[str]) -> None:
    if image_ids:
        store.forget_uploads(image_ids)
        blobs.discard(image_ids)
