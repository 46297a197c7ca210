"""Installs and removes models, adapters and control networks in the data folder. Free of torch.

Everything arrives in a folder of its own, is verified there, and moves in one step: what is listed is whole.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import unquote, urlparse

from core_server.errors import (
    FailedPrecondition,
    InvalidRequest,
    LimitExceeded,
    ModelLoadFailed,
    SourceNotFound,
)
from core_server.pipelines.hashes import HASHES, KeptHashes
from core_server.pipelines.reference_files import require_readable
from core_server.pipelines.sources.disk import RESERVE_BYTES, Disk, RealDisk
from core_server.pipelines.sources.fetch import fetch, sha256_of
from core_server.pipelines.sources.hub import Hub, HubPlace
from core_server.pipelines.sources.licences import UNKNOWN, Licence
from core_server.pipelines.sources.local import local_offer
from core_server.pipelines.sources.names import checked_name, inside, name_from
from core_server.pipelines.sources.offer import Installed, Offer, OfferedFile, Progress, Shelf
from core_server.pipelines.sources.recognise import FileKind, Recognised, recognise
from core_server.pipelines.sources.recommended import Recommended, recommended_named
from core_server.pipelines.sources.shipped import require_loadable
from core_server.pipelines.sources.weights import SUFFIXES, read_header, refuse_pickle_name

RECORD = "installed.json"
"""Where it came from, in a folder; beside a single file it is `NAME.json` with the profile's fields too."""
_INCOMING = ".incoming"
_SHELVES = {
    FileKind.CHECKPOINT: Shelf.MODELS,
    FileKind.DENOISER: Shelf.MODELS,
    FileKind.LORA: Shelf.ADAPTERS,
    FileKind.TEXTUAL_INVERSION: Shelf.ADAPTERS,
    FileKind.IP_ADAPTER: Shelf.REFERENCES,
    FileKind.CONTROLNET: Shelf.CONTROLS,
}

OnProgress = Callable[[Progress], None]
"""Told how far it is; what it raises ends the installation, and the same command goes on from there."""


class Installer:
    """The data folder's shelves. hub and disk: others than the real ones, in tests. Thread-safe."""

    def __init__(self, data_dir: Path, hub: Hub | None = None, disk: Disk | None = None) -> None:
        self._data_dir = data_dir
        self._hub = hub or Hub()
        self._disk = disk or RealDisk()
        self._hashes = KeptHashes(data_dir / HASHES)
        self._busy: set[str] = set()
        self._lock = threading.Lock()

    def offer(self, source: str, name: str = "") -> Offer:
        """What `source` offers: a recommended id, OWNER/NAME[/FILE][@REVISION], an https address, or the path
        of a file or diffusers folder.

        Uses the network for all but a path. Errors: InvalidRequest, SourceNotFound, FailedPrecondition, Unavailable,
        ModelLoadFailed.
        """
        if name:
            checked_name(name)
        known = recommended_named(source)
        if known is not None:
            place = HubPlace.parse(known.source)
            assert place is not None
            offer = self._hub.offer(place, name or known.id, known.files)
            return _as_recommended(offer, known)
        if "://" in source:
            return _address(source, name)
        path = Path(source).expanduser()
        if path.is_absolute() or (path.suffix in SUFFIXES and path.is_file()):
            return local_offer(path, name)
        place = HubPlace.parse(source)
        if place is None:
            raise SourceNotFound(
                f"There is no recommended model, Hub id or file {source[:200]!a}; see `scumble models list --all`, "
                "or give OWNER/NAME, a whole path or an https address."
            )
        return self._hub.offer(place, name)

    def install(self, offer: Offer, on_progress: OnProgress) -> Installed:
        """Fetches, verifies and shelves. What broke off before is continued.

        Errors: as `offer`; LimitExceeded for a full disk; FailedPrecondition where the name is taken.
        """
        with self._alone(offer.name):
            self._require_free_name(offer)
            incoming = self._incoming(offer)
            incoming.mkdir(parents=True, exist_ok=True)
            self._require_room(offer, incoming)
            self._fetch(offer, incoming, on_progress)
            on_progress(Progress(offer.size_bytes, offer.size_bytes, "Verifying"))
            found = _judge(offer, incoming, self._data_dir / Shelf.MODELS)
            installed = self._shelve(offer, incoming, found)
            shutil.rmtree(incoming, ignore_errors=True)
            return installed

    def remove(self, name: str) -> int:
        """Deletes what is installed under `name`. Returns the freed bytes. Errors: SourceNotFound, InvalidRequest."""
        checked_name(name, "model_id")
        freed = 0
        with self._alone(name):
            for shelf in Shelf:
                for path in self._paths(shelf, name):
                    if path.is_dir() and not path.is_symlink():
                        files = [it for it in path.rglob("*") if it.is_file()]
                        freed += sum(it.stat().st_size for it in files)
                        for it in files:
                            self._hashes.forget(it)
                        # Out of sight first: a folder that is half deleted must not be listed.
                        grave = self._data_dir / shelf / f".removed-{name}"
                        path.rename(grave)
                        shutil.rmtree(grave)
                    else:
                        freed += path.lstat().st_size
                        self._hashes.forget(path)
                        path.unlink()
        if not freed:
            raise SourceNotFound(f"Nothing is installed under the name {name!r}.")
        return freed

    def where(self, name: str) -> Shelf | None:
        """The shelf that has `name`."""
        return next((shelf for shelf in Shelf if self._paths(shelf, name)), None)

    def _paths(self, shelf: Shelf, name: str) -> list[Path]:
        folder = self._data_dir / shelf
        names = (name, *(f"{name}{suffix}" for suffix in (*SUFFIXES, ".json")))
        paths = [folder / it for it in names if (folder / it).exists()]
        return paths if any(path.suffix != ".json" for path in paths) else []

    def _incoming(self, offer: Offer) -> Path:
        key = hashlib.sha256(f"{offer.source}\0{offer.name}".encode()).hexdigest()[:16]
        return self._data_dir / Shelf.MODELS / _INCOMING / key

    def _require_free_name(self, offer: Offer) -> None:
        if self.where(offer.name) is not None:
            raise FailedPrecondition(
                f"{offer.name!r} is installed already; remove it first, or choose another name with --name."
            )

    def _require_room(self, offer: Offer, incoming: Path) -> None:
        there = sum(it.stat().st_size for it in incoming.rglob("*") if it.is_file())
        needed = max(0, offer.size_bytes - there) + RESERVE_BYTES
        free = self._disk.free_bytes(incoming)
        if free < needed:
            raise LimitExceeded(
                f"{offer.title} needs {_told(offer.size_bytes)} and the disk of {self._data_dir} has {_told(free)} "
                f"free ({_told(RESERVE_BYTES)} must stay free); free some space, or use another --data-dir."
            )

    def _fetch(self, offer: Offer, incoming: Path, on_progress: OnProgress) -> None:
        total, done = offer.size_bytes, 0
        for file in offer.files:
            target = inside(incoming / "whole", file.path)
            stage = f"Fetching {file.path}"
            on_progress(Progress(done, total, stage))
            if target.is_file():
                done += target.stat().st_size
                continue

            def count(size: int, stage: str = stage) -> None:
                nonlocal done
                done += size
                on_progress(Progress(done, total, stage))

            part = inside(incoming / "parts", file.path)
            fetch(file, part, target, hub=self._hub, disk=self._disk, count=count)

    def _shelve(self, offer: Offer, incoming: Path, found: Recognised | None) -> Installed:
        whole = incoming / "whole"
        shelf = offer.shelf or _SHELVES[found.kind if found else FileKind.CHECKPOINT]
        folder = self._data_dir / shelf
        folder.mkdir(parents=True, exist_ok=True)
        digests = {file.path: file.sha256 or sha256_of(whole / file.path) for file in offer.files}
        record = {"source": offer.source, "url": offer.url, "files": digests}
        profile = {
            "title": offer.title,
            "license": offer.licence.name,
            "commercial_use": offer.licence.commercial_use is True,
            **dict(offer.details),
        }
        if not offer.single:
            _write_json(whole / "profile.json", profile)
            _write_json(whole / RECORD, record)
            whole.rename(folder / offer.name)
            for path, digest in digests.items():
                self._hashes.keep(folder / offer.name / path, digest)
            return Installed(offer.name, shelf, folder / offer.name)
        [file] = offer.files
        target = folder / f"{offer.name}{Path(file.path).suffix}"
        _write_json(folder / f"{offer.name}.json", profile | {RECORD: record})
        (whole / file.path).rename(target)
        self._hashes.keep(target, digests[file.path])
        return Installed(offer.name, shelf, target)

    @contextmanager
    def _alone(self, name: str) -> Iterator[None]:
        with self._lock:
            if name in self._busy:
                raise FailedPrecondition(
                    f"{name!r} is being installed or removed right now; wait for that."
                )
            self._busy.add(name)
        try:
            yield
        finally:
            with self._lock:
                self._busy.discard(name)


def _judge(offer: Offer, incoming: Path, models: Path) -> Recognised | None:
    """Reads every header. What is refused is deleted. models: the shelf. Errors: ModelLoadFailed."""
    whole = incoming / "whole"
    found = None
    try:
        for file in offer.files:
            if file.path.endswith(SUFFIXES) or offer.single:
                header = read_header(whole / file.path)
                found = recognise(header)
        if not offer.single:
            return None
        assert found is not None
        if _SHELVES.get(found.kind, Shelf.MODELS) is Shelf.MODELS:
            require_loadable(whole / offer.files[0].path, header, found, models)
        if found.kind is FileKind.IP_ADAPTER:
            require_readable(offer.files[0].path, header)
    except ModelLoadFailed:
        shutil.rmtree(incoming, ignore_errors=True)
        raise
    return found


def _as_recommended(offer: Offer, known: Recommended) -> Offer:
    licence = offer.licence
    if licence.commercial_use is None:
        licence = Licence(known.license, known.commercial_use)
    return Offer(
        name=offer.name,
        source=offer.source,
        title=known.title,
        licence=licence,
        files=offer.files,
        shelf=Shelf.REFERENCES if known.kind == "reference" else offer.shelf,
        single=offer.single,
        family=known.family,
        url=offer.url,
        details=tuple(known.profile().items()),
    )


def _address(source: str, name: str) -> Offer:
    parts = urlparse(source)
    loopback = parts.hostname in ("127.0.0.1", "localhost", "::1")
    if parts.scheme != "https" and not (parts.scheme == "http" and loopback):
        raise InvalidRequest(
            "source",
            f"{parts.scheme}: addresses are not fetched; use https, which nobody on the way can change.",
            allowed="https",
        )
    file = unquote(parts.path.rpartition("/")[2])
    refuse_pickle_name(file)
    suffix = ".gguf" if file.endswith(".gguf") else ".safetensors"
    name = name or name_from(file or str(parts.hostname))
    return Offer(
        name=name,
        source=source,
        title=file or name,
        licence=UNKNOWN,
        files=(OfferedFile(f"{name}{suffix}", source, 0),),
        single=True,
        url=source,
    )


def _write_json(path: Path, content: object) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def _told(size: int) -> str:
    return f"{size / 2**20:.0f} MiB" if size < 2**30 else f"{size / 2**30:.1f} GiB"
