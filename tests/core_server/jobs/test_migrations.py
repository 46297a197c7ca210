"""Old job databases, as released versions left them, under this one."""

from __future__ import annotations

import hashlib
import sqlite3
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from core_server.canvas.pixels import Pixels
from core_server.config import Limits
from core_server.errors import ImageNotFound, StartupError
from core_server.jobs import codec, schema
from core_server.jobs.blobs import BlobStore
from core_server.jobs.job import JobState, Priority
from core_server.jobs.local_engine import LocalEngine
from core_server.jobs.service import JobService
from core_server.jobs.store import Store
from tests.core_server.jobs.conftest import config, finished, text_to_image
from tests.fakes.runtime import picture

FOLDER = Path(__file__).parent / "data"
RELEASED = ("afd106787ad3", "59b7b3df7d12")


def old_database(data_dir: Path, version: int) -> Path:
    path = data_dir / "jobs.sqlite3"
    with closing(sqlite3.connect(path)) as database:
        database.executescript((FOLDER / f"schema-{version}.sql").read_text(encoding="utf-8"))
    return path


def old_blobs(data_dir: Path) -> tuple[str, str]:
    """The images that the database speaks of: ids follow from pixels, so they can be made again."""
    blobs = BlobStore(data_dir / "blobs")
    request = text_to_image()
    for seed in (7, 8):
        pixels = Pixels(picture(seed, request.extent))
        result = blobs.put(codec.header_of(pixels), codec.raw_bytes(pixels))
    upload = Pixels(np.arange(8 * 12 * 3, dtype=np.uint8).reshape(8, 12, 3) % 251)
    return result, blobs.put(codec.header_of(upload), codec.raw_bytes(upload))


def shape(path: Path) -> set[str]:
    with closing(sqlite3.connect(path)) as database:
        rows = database.execute("SELECT name, sql FROM sqlite_schema WHERE sql IS NOT NULL")
        return {f"{name} {' '.join(sql.split())}" for name, sql in rows}


VERSIONS = range(1, len(schema.MIGRATIONS))


@pytest.mark.parametrize("version", VERSIONS)
async def test_every_job_of_an_old_version_is_there_and_goes_on(
    tmp_path: Path, version: int
) -> None:
    old_database(tmp_path, version)
    result, upload = old_blobs(tmp_path)
    service = JobService(tmp_path, LocalEngine(config(tmp_path)), Limits())
    await service.start()
    try:
        names = ("done", "running", "echoed")
        done, running, echoed = [await service.create("ada", it, text_to_image()) for it in names]
        assert (done.state, len(done.results)) == (JobState.SUCCEEDED, 2)
        assert (done.priority, done.client) == (Priority.NORMAL, "")
        assert echoed.results[0].image.image_id == upload
        queued = await service.create("bob", "queued", text_to_image())
        failed = await service.create("bob", "failed", text_to_image())
        assert failed.failure is not None
        assert failed.failure.reason == "OUT_OF_MEMORY"
        await service.cancel("ada", running.job_id)
        for job in (running, queued):
            assert (await finished(service, job))[0].state.is_final
        for image_id in (result, upload):
            await service.images.get("ada", image_id, None)
            with pytest.raises(ImageNotFound):
                await service.images.get("eve", image_id, None)
    finally:
        await service.stop()


@pytest.mark.parametrize("version", VERSIONS)
def test_an_old_database_gets_the_shape_of_a_new_one(tmp_path: Path, version: int) -> None:
    old = old_database(tmp_path, version)
    Store(old).close()
    kept = old.with_name(f"jobs.sqlite3.schema-{version}")
    assert kept.stat().st_mode & 0o077 == 0
    with closing(sqlite3.connect(kept)) as database:
        assert database.execute("PRAGMA user_version").fetchone() == (version,)
        assert database.execute("SELECT count(*) FROM jobs").fetchone() == (5,)
    new = tmp_path / "new.sqlite3"
    Store(new).close()
    assert shape(old) == shape(new)


def test_released_migrations_are_never_changed() -> None:
    digests = [hashlib.sha256(it.encode()).hexdigest()[:12] for it in schema.MIGRATIONS]
    assert digests == list(RELEASED), "follow it with a new migration instead"


def test_a_migration_that_breaks_leaves_the_old_database(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = old_database(tmp_path, 1)
    before = shape(path)
    broken = (*schema.MIGRATIONS[:1], "CREATE TABLE half (x); SELECT * FROM nowhere;")
    monkeypatch.setattr(schema, "MIGRATIONS", broken)
    with pytest.raises(sqlite3.OperationalError, match="nowhere"):
        Store(path)
    monkeypatch.undo()
    assert shape(path) == before
    Store(path).close()


def test_a_database_of_the_future_is_refused_untouched(tmp_path: Path) -> None:
    path = old_database(tmp_path, 1)
    with closing(sqlite3.connect(path)) as database:
        database.execute("PRAGMA user_version = 99")
    before = path.read_bytes()
    with pytest.raises(StartupError, match="newer Scumble"):
        Store(path)
    assert path.read_bytes() == before
