"""What could be installed, what was, and the adapters and styles that are there."""

from __future__ import annotations

from collections.abc import Collection

from core_server.pipelines.adapter_files import AdapterFile
from core_server.pipelines.sources.offer import Installed, Offer, Shelf
from core_server.pipelines.sources.recommended import Recommended
from core_server.pipelines.words.styles import Style
from core_server.rpc.convert.model import described
from core_server.rpc.convert.parameters import ADAPTER_KINDS
from scumble.v1 import model_service_pb2

_KINDS = {
    Shelf.MODELS: "model",
    Shelf.ADAPTERS: "lora",
    Shelf.CONTROLS: "controlnet",
    Shelf.REFERENCES: "reference",
}


def to_proto_offer(offer: Offer) -> model_service_pb2.InstallModelResponse:
    """The only message of a plan."""
    return model_service_pb2.InstallModelResponse(
        total_bytes=offer.size_bytes,
        stage="Plan",
        model=_offered(offer, model_service_pb2.MODEL_STATE_AVAILABLE, offer.shelf),
        license_note=offer.licence.sentence,
        url=offer.url,
    )


def to_proto_installed(installed: Installed, offer: Offer) -> model_service_pb2.Model:
    """What is no model by itself: an adapter, a control network."""
    return _offered(offer, model_service_pb2.MODEL_STATE_INSTALLED, installed.shelf)


def _offered(
    offer: Offer, state: model_service_pb2.ModelState.ValueType, shelf: Shelf | None
) -> model_service_pb2.Model:
    return model_service_pb2.Model(
        model_id=offer.name,
        title=offer.title,
        family=offer.family,
        state=state,
        license=offer.licence.name,
        commercial_use=offer.licence.commercial_use is True,
        size_bytes=offer.size_bytes,
        kind=_KINDS[shelf] if shelf else "",
        trained=True,
    )


def to_proto_recommended(entry: Recommended, fitting: Collection[str]) -> model_service_pb2.Model:
    """Something that is not installed. fitting: ids that the device has the memory for."""
    return model_service_pb2.Model(
        **described(entry),
        model_id=entry.id,
        state=model_service_pb2.MODEL_STATE_AVAILABLE,
        kind=entry.kind,
        memory_bytes=entry.memory_bytes,
        recommended=entry.id in fitting,
        trained=True,
    )


def to_proto_adapter(adapter: AdapterFile) -> model_service_pb2.AdapterInfo:
    """An adapter on this disk."""
    return model_service_pb2.AdapterInfo(
        name=adapter.name,
        kind=ADAPTER_KINDS.to_proto(adapter.kind),
        family=adapter.family,
        trigger_words=adapter.trigger_words,
        size_bytes=adapter.size_bytes,
        license=adapter.license,
    )


def to_proto_style(style: Style) -> model_service_pb2.Style:
    """A prompt template."""
    return model_service_pb2.Style(
        name=style.name,
        prompt=style.prompt,
        negative_prompt=style.negative_prompt,
        is_own=style.is_own,
    )
