"""What a request adds to a model: adapters and their words, put on for one job and taken off after it."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from core_server.canvas.pixels import Pixels
from core_server.pipelines.adapter_files import AdapterShelf, require_family, token_of
from core_server.pipelines.adapter_rack import AdapterRack
from core_server.pipelines.control import take_control
from core_server.pipelines.control_networks import need_no_network
from core_server.pipelines.families.family import Looks
from core_server.pipelines.hashes import sha256_of
from core_server.pipelines.model import LoadedModel
from core_server.pipelines.reference import Reference, looking_at
from core_server.pipelines.reference_seen import SeenReference, seeing
from core_server.pipelines.request import Adapter, AdapterKind, Request, task_name
from core_server.pipelines.settings import Settings
from core_server.pipelines.textual_inversion import new_words, with_tokens


@contextmanager
def dressed(
    model: LoadedModel,
    request: Request,
    settings: Settings,
    images: Mapping[str, Pixels],
    data_dir: Path,
) -> Iterator[Settings]:
    """Within the context the model paints with the request's adapters; afterwards it is as before, bit for bit.

    Yields the settings with the adapters' part of the recipe. Errors: InvalidRequest for adapters that are not there,
    are of another family, or do not fit.
    """
    parameters = request.parameters
    with ExitStack() as worn:
        need_no_network()
        if parameters.control_images:
            control = take_control(
                model, parameters.control_images, images, task_name(request), data_dir
            )
            recipe = {**settings.recipe, "control_images": control.recipe()}
            notes = (*settings.notes, *control.notes())
            settings = dataclasses.replace(settings, control=control, recipe=recipe, notes=notes)
        if parameters.reference_images:
            looks = parameters.reference_images
            reference: Reference | SeenReference
            if model.family.looks in (Looks.TOKENS, Looks.PICTURES):
                edits = task_name(request) not in ("text_to_image", "texture")
                reference = seeing(model, looks, images, edits=edits)
            else:
                reference = worn.enter_context(looking_at(model, looks, images, data_dir))
            settings = dataclasses.replace(
                settings,
                reference=reference,
                recipe={**settings.recipe, **reference.recipe()},
                notes=(*settings.notes, *reference.notes()),
            )
        if parameters.adapters or model.rack is not None:
            settings = worn.enter_context(_adapted(model, parameters.adapters, settings, data_dir))
        yield settings


@contextmanager
def _adapted(
    model: LoadedModel, adapters: Sequence[Adapter], settings: Settings, data_dir: Path
) -> Iterator[Settings]:
    """LoRAs and textual inversions."""
    shelf = AdapterShelf(data_dir)
    chosen = []
    for index, wanted in enumerate(adapters):
        at = f"parameters.adapters[{index}]"
        adapter = shelf.find(wanted.kind, wanted.name, f"{at}.name")
        require_family(adapter, model.family.adapters, model.family.title, f"{at}.name")
        chosen.append((adapter, wanted.weight, at))
    loras = [it for it in chosen if it[0].kind is AdapterKind.LORA]
    words = [it for it in chosen if it[0].kind is AdapterKind.TEXTUAL_INVERSION]
    if model.rack is None:
        model.rack = AdapterRack(
            model.pipeline(next(iter(model.family.tasks)), model.profile.scheduler)
        )
    files = [adapter for adapter, _, _ in words]
    prompts = [with_tokens(text, files) for text in (settings.prompt, settings.negative_prompt)]
    notes = [
        f"the textual inversion {it.name!r} had no effect: write {token_of(it.name)} where it is to act"
        for it in files
        if not any(token_of(it.name) in text for text in prompts)
    ]
    with model.rack.worn(loras), new_words(model, words):
        told: dict[str, Any] = {
            "adapters": [
                {
                    "kind": adapter.kind.value,
                    "name": adapter.name,
                    "weight": weight,
                    "sha256": sha256_of(adapter.path),
                }
                for adapter, weight, _ in chosen
            ]
        }
        yield dataclasses.replace(
            settings,
            prompt=prompts[0],
            negative_prompt=prompts[1],
            recipe={**settings.recipe, **(told if chosen else {})},
            notes=(*settings.notes, *notes),
        )
