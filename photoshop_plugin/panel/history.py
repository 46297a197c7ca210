"""What was generated, kept over restarts: words and thumbnails here, the pictures on the server under their job."""

from __future__ import annotations

import dataclasses
import json
import logging
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from photoshop_plugin.document import NO_SIDES, Document, Sides
from photoshop_plugin.generation import Prepared
from photoshop_plugin.placing import Place
from photoshop_plugin.task import Task
from scumble.client import Bounds, Extent, Pixels, SampleType

MAX_ENTRIES = 100
"""Older generations leave the list; their pictures stay on the server as long as its own limits say."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One picture of a generation. index: its place in the job's results."""

    index: int
    seed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One generation.

    settings: what was asked for, by the names of `settings.Settings`. document: as it was described then; its id
    holds until Photoshop is closed; None for a pattern. bounds: where results without a place of their own go. title:
    of the history step. results: those not discarded. task, above, grow: as in `placing.Place`.
    """

    job_id: str
    prompt: str
    settings: dict[str, Any]
    document: Document | None
    bounds: Bounds
    title: str
    time: float
    results: tuple[Result, ...]
    task: Task = Task.FILL
    above: int | None = None
    grow: Sides = NO_SIDES


def entry_of(job_id: str, prepared: Prepared, place: Place, seeds: Sequence[int]) -> Entry:
    """The entry of a generation that is done. place: where its results go. seeds: of its results."""
    asked = dataclasses.asdict(prepared.settings)
    del asked["options"]
    asked["sides"] = list(prepared.settings.sides)
    asked["adapters"] = [[it.name, it.weight] for it in prepared.settings.adapters]
    return Entry(
        job_id=job_id,
        prompt=prepared.settings.prompt,
        settings=asked,
        document=prepared.document,
        bounds=prepared.bounds,
        title=prepared.title,
        time=time.time(),
        results=tuple(Result(index=k, seed=seed) for k, seed in enumerate(seeds)),
        task=place.task,
        above=place.above,
        grow=place.grow,
    )


class History:
    """Generations, newest first. folder: created when something is kept. Not thread-safe: one thread owns it.

    A history that cannot be read is set aside as `history.json.broken`, never deleted.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._entries = _read(folder / "history.json")

    @property
    def entries(self) -> tuple[Entry, ...]:
        """Newest first."""
        return tuple(self._entries)

    def find(self, job_id: str) -> Entry | None:
        """The generation of a job."""
        return next((entry for entry in self._entries if entry.job_id == job_id), None)

    def add(self, entry: Entry, thumbnails: Iterable[bytes], place: Place) -> None:
        """Keeps a generation. thumbnails: one PNG a result."""
        pictures = self._folder / "pictures"
        pictures.mkdir(parents=True, exist_ok=True)
        for result, data in zip(entry.results, thumbnails, strict=True):
            self.thumbnail(entry.job_id, result.index).write_bytes(data)
        if place.icc_profile:
            self._beside(entry.job_id, "icc").write_bytes(place.icc_profile)
        if place.mask is not None:
            mask = f"{place.mask.sample_type.value}\n".encode() + place.mask.tobytes()
            self._beside(entry.job_id, "mask").write_bytes(mask)
        self._entries.insert(0, entry)
        for old in self._entries[MAX_ENTRIES:]:
            self._forget(old)
        del self._entries[MAX_ENTRIES:]
        self._write()

    def discard(self, job_id: str, indices: Iterable[int]) -> None:
        """Takes pictures off the list; a generation without pictures goes as a whole."""
        gone = set(indices)
        for place, entry in enumerate(self._entries):
            if entry.job_id != job_id:
                continue
            for index in gone:
                self.thumbnail(job_id, index).unlink(missing_ok=True)
            left = tuple(result for result in entry.results if result.index not in gone)
            if left:
                self._entries[place] = dataclasses.replace(entry, results=left)
            else:
                self._forget(entry)
                del self._entries[place]
            self._write()
            return

    def thumbnail(self, job_id: str, index: int) -> Path:
        """Where the PNG of a result is."""
        return self._folder / "pictures" / f"{job_id}-{index}.png"

    def place(self, entry: Entry) -> Place:
        """Where the results of a generation become layers."""
        profile = self._beside(entry.job_id, "icc")
        path = self._beside(entry.job_id, "mask")
        mask = None
        if path.is_file():
            kind, _, samples = path.read_bytes().partition(b"\n")
            width, height = entry.bounds.extent
            mask = Pixels.mask(samples, width, height, SampleType(kind.decode()))
        return Place(
            task=entry.task,
            above=entry.above,
            grow=entry.grow,
            document=entry.document,
            bounds=entry.bounds,
            icc_profile=profile.read_bytes() if profile.is_file() else b"",
            prompt=entry.prompt,
            mask=mask,
        )

    def _beside(self, job_id: str, suffix: str) -> Path:
        return self._folder / "pictures" / f"{job_id}.{suffix}"

    def _forget(self, entry: Entry) -> None:
        for suffix in ("icc", "mask"):
            self._beside(entry.job_id, suffix).unlink(missing_ok=True)
        for result in entry.results:
            self.thumbnail(entry.job_id, result.index).unlink(missing_ok=True)

    def _write(self) -> None:
        text = json.dumps([dataclasses.asdict(entry) for entry in self._entries], indent=1)
        path = self._folder / "history.json"
        new = path.with_suffix(".new")
        new.write_text(text, encoding="utf-8")
        new.replace(path)


def _read(path: Path) -> list[Entry]:
    if not path.is_file():
        return []
    try:
        return [_entry(values) for values in json.loads(path.read_text("utf-8"))]
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        aside = path.with_suffix(".json.broken")
        path.replace(aside)
        _log.warning("The history could not be read (%s); it was set aside as %s.", error, aside)
        return []


def _entry(values: dict[str, Any]) -> Entry:
    above = values.get("above")
    return Entry(
        job_id=str(values["job_id"]),
        prompt=str(values["prompt"]),
        settings=dict(values["settings"]),
        document=_document(values["document"]),
        bounds=Bounds(*values["bounds"]),
        title=str(values["title"]),
        time=float(values["time"]),
        results=tuple(Result(**result) for result in values["results"]),
        task=Task(values.get("task", Task.FILL)),
        above=None if above is None else int(above),
        grow=Sides(*values.get("grow", ())),
    )


def _document(values: dict[str, Any] | None) -> Document | None:
    if values is None:
        return None
    document = dict(values)
    document["extent"] = Extent(*document["extent"])
    if document["selection"] is not None:
        document["selection"] = Bounds(*document["selection"])
    return Document(**document)
