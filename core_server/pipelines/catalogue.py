"""Which models there are and what they are, read from small JSON files alone: no torch, no weights, no network.

A model is named by
- "default": the embedded model in `core_server/models/default_model`; the tiny one while that folder has no weights,
- "tiny": the untrained test model,
- the name of a diffusers folder or .safetensors file in `<data folder>/models`,
- "owner/name" of a Hub model that is in the local cache,
- a path to a diffusers folder or .safetensors file; only the one that the server was started with.

A diffusers folder may carry a `profile.json`: an object with any fields of `pipelines.task.ModelProfile` except
model_id and size_bytes; what it says replaces what is derived from the folder's other files. Extents are
[width, height]. Example:
{"title": "Scumble materials", "license": "MIT", "commercial_use": true, "min_extent": [128, 128],
 "max_extent": [768, 768], "multiple": 32, "num_inference_steps": 20, "guidance_scale": 4.0,
 "scheduler": "dpmpp_2m", "best_extent": [256, 256], "description": "Seamless materials from words."}
"""

from __future__ import annotations

import json
import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from core_server.canvas.geometry import Extent
from core_server.errors import ModelLoadFailed, ModelNotFound
from core_server.pipelines.families.family import Family
from core_server.pipelines.families.registry import cannot_run, family_of
from core_server.pipelines.families.sizes import vae_scale_factor
from core_server.pipelines.families.stable_diffusion import STABLE_DIFFUSION
from core_server.pipelines.schedulers import scheduler_name
from core_server.pipelines.sources.choice import MODEL_INDEX
from core_server.pipelines.sources.shipped import configs_of, lender_of_file
from core_server.pipelines.sources.weights import PICKLE_SUFFIXES, SUFFIXES, pickle_sentence
from core_server.pipelines.task import ModelProfile

DEFAULT_MODEL_FOLDER = Path(__file__).parents[1] / "models" / "default_model"
DEFAULT, TINY = "default", "tiny"
PROFILE = "profile.json"
_LENT = (
    "min_extent", "max_extent", "best_extent", "multiple", "num_inference_steps", "guidance_scale", "scheduler",
)  # fmt: skip

_TINY_PROFILE = ModelProfile(
    model_id=TINY,
    title="Tiny test model (untrained)",
    family=STABLE_DIFFUSION.name,
    license="MIT",
    commercial_use=True,
    size_bytes=0,
    min_extent=Extent(16, 16),
    max_extent=Extent(1024, 1024),
    multiple=16,
    num_inference_steps=8,
    guidance_scale=5.0,
    scheduler="euler",
    schedulers=STABLE_DIFFUSION.schedulers,
    tasks=STABLE_DIFFUSION.all_tasks(),
    description="Random weights: every path of the server runs, the pictures are coloured noise.",
    best_extent=Extent(64, 64),
    trained=False,
)


_Stamp = tuple[Any, ...]
_TOLD = (MODEL_INDEX, PROFILE)
_CONFIGS = (
    "unet/config.json",
    "transformer/config.json",
    "vae/config.json",
    "scheduler/scheduler_config.json",
)
"""What `profile_of` reads."""


@dataclass(frozen=True, slots=True)
class ModelFiles:
    """Where a model is. path: a diffusers folder or a .safetensors file; None for the tiny model."""

    model_id: str
    path: Path | None


class Catalogue:
    """Finds models by name. configured: the model that the server was started with, the only path that is served."""

    def __init__(
        self, configured: str, data_dir: Path, embedded: Path = DEFAULT_MODEL_FOLDER
    ) -> None:
        self.configured = configured or DEFAULT
        self._models_dir = data_dir / "models"
        self._embedded = embedded
        self._read: dict[str, tuple[_Stamp, ModelProfile]] = {}
        """Profiles of folders as they were then; who paints tells of all models after each picture."""

    @property
    def maps_folder(self) -> Path:
        """Where the network for material maps is, if it is there."""
        return self._embedded / "maps"

    def find(self, model: str) -> ModelFiles:
        """Where `model` is ("" = the configured one). Errors: ModelNotFound."""
        name = model or self.configured
        if name == TINY:
            return ModelFiles(TINY, None)
        if name == DEFAULT:
            has_weights = (self._embedded / MODEL_INDEX).is_file()
            return ModelFiles(DEFAULT, self._embedded if has_weights else None)
        if name in self._installed():
            return ModelFiles(name, self._models_dir / name)
        if name == self.configured and _is_model(path := Path(name).expanduser()):
            return ModelFiles(name, path)
        cached = _cached_snapshot(name)
        if cached is not None:
            return ModelFiles(name, cached)
        raise ModelNotFound(name, self.names())

    def names(self) -> tuple[str, ...]:
        """Every model that can be listed: the configured one first, then the built-in and the installed ones."""
        return tuple(dict.fromkeys((self.configured, DEFAULT, TINY, *self._installed())))

    def profiles(self) -> tuple[ModelProfile, ...]:
        """Profiles of all listed models that can be read."""
        found = []
        for name in self.names():
            with suppress(ModelNotFound, ModelLoadFailed, OSError):
                found.append(self._profile(self.find(name)))
        return tuple(found)

    def profile(self, name: str) -> ModelProfile:
        """Of one model. Errors: ModelNotFound; ModelLoadFailed for what lies there and cannot be used."""
        path = next((it for it in self._lying_there() if it.name == name), None)
        return profile_of(self.find(name)) if path is None else _profile_there(path)

    def look(self) -> tuple[tuple[ModelProfile, ...], dict[str, str]]:
        """(what lies in the models folder, why the rest of it cannot be used: one sentence each, by name)."""
        found, unusable = [], {}
        for path in self._lying_there():
            try:
                found.append(_profile_there(path))
            except ModelLoadFailed as error:
                unusable[path.name] = error.message
        return tuple(found), unusable

    def _lying_there(self) -> list[Path]:
        """Whatever somebody may take for a model; not what is on its way."""
        if not self._models_dir.is_dir():
            return []
        return sorted(
            path
            for path in self._models_dir.iterdir()
            if not path.name.startswith(".")
            and (path.is_dir() or path.suffix in (*SUFFIXES, *PICKLE_SUFFIXES))
        )

    def _profile(self, files: ModelFiles) -> ModelProfile:
        if files.path is None or not files.path.is_dir():
            return profile_of(files)
        stamp = _stamp_of(files.path)
        known = self._read.get(files.model_id)
        if known is None or known[0] != stamp:
            known = self._read[files.model_id] = (stamp, profile_of(files))
        return known[1]

    def _installed(self) -> tuple[str, ...]:
        if not self._models_dir.is_dir():
            return ()
        return tuple(sorted(path.name for path in self._models_dir.iterdir() if _is_model(path)))


def _stamp_of(folder: Path) -> _Stamp:
    """Differs as soon as a file of the model comes, goes, or is written to, weights in place excepted."""
    inner = [Path(it) for it in os.scandir(folder) if it.is_dir() or it.name in _TOLD]
    configs = [folder / name for name in _CONFIGS]
    return (str(folder), *(_written(path) for path in (folder, *inner, *configs)))


def _written(path: Path) -> tuple[str, int, int]:
    try:
        found = path.stat()
    except OSError:
        return str(path), 0, 0
    return str(path), found.st_mtime_ns, found.st_size


def profile_of(files: ModelFiles) -> ModelProfile:
    """What the model is, from its JSON files. Errors: ModelLoadFailed for broken ones or an unknown pipeline class."""
    if files.path is None:
        if files.model_id == DEFAULT:
            return msgspec.structs.replace(
                _TINY_PROFILE,
                model_id=DEFAULT,
                title="Default model (not trained yet: the tiny test model)",
            )
        return _TINY_PROFILE
    if files.path.is_file():
        index, denoiser, vae, scheduler = configs_of(files.path)
    else:
        index = _read_json(files.path / MODEL_INDEX)
        denoiser = _read_json(files.path / "unet" / "config.json") or _read_json(
            files.path / "transformer" / "config.json"
        )
        vae = _read_json(files.path / "vae" / "config.json")
        scheduler = _read_json(files.path / "scheduler" / "scheduler_config.json")
    class_name = str(index.get("_class_name", ""))
    family = family_of(class_name, denoiser)
    if family is None:
        raise cannot_run(f"The model {files.model_id!r}", class_name)
    if files.path.is_dir():
        _require_parts(files, index, family)
    return _profile(files, family, index, denoiser, vae, scheduler)


def _require_parts(files: ModelFiles, index: dict[str, Any], family: Family) -> None:
    assert files.path is not None
    for name, entry in index.items():
        is_part = isinstance(entry, list) and len(entry) == 2 and entry[0] is not None
        if is_part and name not in family.dropped and not (files.path / name).is_dir():
            raise ModelLoadFailed(
                f"The model {files.model_id!r} is not whole: the folder of its {name} is missing; get it again, or "
                "install it with `scumble models install`.",
                model=files.model_id,
            )


def _profile(  # noqa: PLR0917 - the model's files, in a row
    files: ModelFiles,
    family: Family,
    index: dict[str, Any],
    denoiser: dict[str, Any],
    vae: dict[str, Any],
    scheduler: dict[str, Any],
) -> ModelProfile:
    path = files.path
    assert path is not None
    defaults = family.defaults(index, denoiser)
    named = scheduler_name(scheduler)
    derived = ModelProfile(
        model_id=files.model_id,
        title=path.stem if path.is_file() else path.name,
        family=family.name,
        license="unknown",
        commercial_use=False,
        size_bytes=sum(file.stat().st_size for file in weight_files(path)),
        min_extent=Extent(family.min_side, family.min_side),
        max_extent=Extent(family.max_side, family.max_side),
        multiple=vae_scale_factor(vae) * family.patch,
        num_inference_steps=defaults.num_inference_steps,
        guidance_scale=defaults.guidance_scale,
        scheduler=named if named in family.schedulers else family.schedulers[0],
        schedulers=family.schedulers,
        tasks=family.all_tasks(),
        description="",
    )
    told = _told(path)
    if not told:
        return derived
    fields = msgspec.to_builtins(derived) | {
        key: value for key, value in told.items() if key not in ("model_id", "size_bytes")
    }
    try:
        return msgspec.convert(fields, ModelProfile)
    except msgspec.ValidationError as error:
        raise ModelLoadFailed(
            f"The {PROFILE} of model {files.model_id!r} is broken: {error}.", model=files.model_id
        ) from error


def _told(path: Path) -> dict[str, Any]:
    """Fields of the profile that somebody wrote down; those of how to paint also by the folder that lends to a file."""
    if path.is_dir():
        return _read_json(path / PROFILE)
    lender = lender_of_file(path)
    lent = {} if lender is None else _read_json(lender / PROFILE)
    own = _read_json(path.with_suffix(".json"))
    return {key: value for key, value in lent.items() if key in _LENT} | own


def weight_files(path: Path) -> tuple[Path, ...]:
    """The .safetensors and .gguf files of a model folder, or the file itself; sorted."""
    if path.is_file():
        return (path,)
    return tuple(sorted((*path.rglob("*.safetensors"), *path.rglob("*.gguf"))))


def _profile_there(path: Path) -> ModelProfile:
    if not _is_model(path):
        raise ModelLoadFailed(_no_model(path), model=path.name)
    try:
        return profile_of(ModelFiles(path.name, path))
    except OSError as error:  # such as a file that goes away while it is looked at
        raise ModelLoadFailed(
            f"The model {path.name!r} cannot be read ({error.strerror or error}); check that it is whole and yours.",
            model=path.name,
        ) from error


def _no_model(path: Path) -> str:
    if path.is_file():
        return pickle_sentence(path.name)
    return (
        f"The folder {path.name!r} is no model: it has no {MODEL_INDEX}, which every diffusers folder has; put a whole "
        "one there, or single files directly into `models`."
    )


def _is_model(path: Path) -> bool:
    if path.is_dir():
        return (path / MODEL_INDEX).is_file()
    return path.is_file() and path.suffix in SUFFIXES


def _cached_snapshot(name: str) -> Path | None:
    if name.count("/") != 1 or Path(name).is_absolute() or ".." in name:
        return None
    from huggingface_hub import try_to_load_from_cache  # noqa: PLC0415  not needed for local models

    try:
        index = try_to_load_from_cache(name, MODEL_INDEX)
    except ValueError:  # not a name the Hub could have
        return None
    return Path(index).parent if isinstance(index, str) else None


def _read_json(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise ModelLoadFailed(
            f"{path.name} in {path.parent.name} cannot be read ({error}); download it again."
        ) from error
    if not isinstance(content, dict):
        raise ModelLoadFailed(
            f"{path.name} in {path.parent.name} is not a JSON object; download it again."
        )
    return content
