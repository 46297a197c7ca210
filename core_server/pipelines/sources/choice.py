"""Which files of a model are taken, from their names and two small JSON files: the same for a hub and for a folder."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from core_server.errors import FailedPrecondition, ModelLoadFailed
from core_server.pipelines.families.registry import cannot_run, known_classes
from core_server.pipelines.sources.offer import Shelf
from core_server.pipelines.sources.weights import PICKLE_SUFFIXES, SUFFIXES, refuse_pickle_name

MODEL_INDEX, CONFIG = "model_index.json", "config.json"
_SMALL_SUFFIXES = (".json", ".txt", ".model", ".jinja")
_PAPERS = ("LICENSE", "LICENSE.md", "LICENSE.txt", "README.md")
_NEVER_LOADED = ("safety_checker", "feature_extractor", "image_encoder")
_SHELVES = {
    "ControlNet": Shelf.CONTROLS,
    "CLIPModel": Shelf.REFERENCES,
    "CLIPVisionModelWithProjection": Shelf.REFERENCES,
    "SiglipVisionModel": Shelf.REFERENCES,
}
"""Of networks that work beside a model, by a word in the class's name that their config.json has."""


def chosen_files(
    title: str, names: list[str], read_json: Callable[[str], Mapping[str, Any]]
) -> tuple[list[str], bool, Shelf | None]:
    """(files, whether it is one file, its shelf). title: what sentences call it. names: all there are.

    Errors: ModelLoadFailed, FailedPrecondition where one has to be named.
    """
    papers = [name for name in names if name in _PAPERS]
    if MODEL_INDEX in names:
        index = read_json(MODEL_INDEX)
        class_name = str(index.get("_class_name", ""))
        if class_name not in known_classes():
            raise cannot_run(title, class_name)
        return [MODEL_INDEX, *pipeline_files(title, index, names), *papers], False, Shelf.MODELS
    top = [name for name in names if "/" not in name]
    weights = [name for name in top if name.endswith(SUFFIXES)]
    if CONFIG in top and weights:
        config = read_json(CONFIG)
        kind = str(config.get("_class_name") or (config.get("architectures") or [""])[0])
        shelf = next((it for word, it in _SHELVES.items() if word in kind), None)
        if shelf is None:
            raise ModelLoadFailed(
                f"{title} is a {kind or 'part of some model'}, which cannot be used by itself; install the model that "
                "it belongs to."
            )
        return [CONFIG, *_one_variant(weights), *papers], False, shelf
    found = weights_of(names)
    if len(found) == 1:
        return found, True, None
    if not found:
        pickles = [name for name in names if name.endswith(PICKLE_SUFFIXES)]
        if pickles:
            refuse_pickle_name(pickles[0])
        raise ModelLoadFailed(f"{title} holds no .safetensors or .gguf file.")
    raise FailedPrecondition(
        f"{title} holds several files; name one of them, such as {title}/{found[0]}. There are {few(found)}."
    )


def pipeline_files(title: str, index: Mapping[str, Any], names: Sequence[str]) -> list[str]:
    """The files of a diffusers repository that loading needs: of each part one set of weights, half precision first.

    Pickles, code, other frameworks' weights and single-file copies stay where they are.
    Errors: ModelLoadFailed for a part without .safetensors, or without anything.
    """
    chosen = []
    for part, entry in index.items():
        if not isinstance(entry, list) or entry[0] is None or part in _NEVER_LOADED:
            continue
        inside = [name for name in names if name.startswith(f"{part}/") and name.count("/") == 1]
        if not inside:
            raise ModelLoadFailed(
                f"{title} is not whole: nothing of its {part} is there; get another copy of the model."
            )
        weights = [name for name in inside if name.endswith(SUFFIXES)]
        pickles = [name for name in inside if name.endswith(PICKLE_SUFFIXES)]
        if pickles and not weights:
            refuse_pickle_name(pickles[0])
        kept = _one_variant(weights)
        half = any(".fp16" in name for name in kept)
        chosen += kept
        chosen += [
            name
            for name in inside
            if name.endswith(_SMALL_SUFFIXES)
            and (
                ".index." not in name
                or (".safetensors.index" in name and (".fp16" in name) == half)
            )
            and "flax" not in name
            and "openvino" not in name
        ]
    return chosen


def _one_variant(weights: Sequence[str]) -> list[str]:
    half = [name for name in weights if ".fp16" in name]
    plain = [name for name in weights if ".fp16" not in name and ".non_ema" not in name]
    return half or plain


def weights_of(names: Iterable[str]) -> list[str]:
    """The files of weights among them, sorted."""
    return sorted(name for name in names if name.endswith(SUFFIXES))


def few(names: Sequence[str]) -> str:
    """For sentences: the first six."""
    return (
        ", ".join(names[:6]) + (" ..." if len(names) > 6 else "") if names else "no weights at all"
    )
