"""Models and adapters on the server: installing, removing, loading, listing; styles."""

from __future__ import annotations

from collections.abc import Iterator

from scumble.client.catalogue import AdapterInfo, InstallPlan, InstallProgress, Model, Style
from scumble.client.connection import Connection
from scumble.client.convert import enum_from_message, model_from_message
from scumble.client.errors import InternalError
from scumble.client.values import (
    AdapterKind,
)
from scumble.v1 import generation_pb2, model_service_pb2

INSTALL_SECONDS = 7 * 24 * 3600.0
"""Deadline of one installation: large models come over slow lines."""

_PLAN_SECONDS = 60.0


def install_plan(connection: Connection, source: str, name: str = "") -> InstallPlan:
    """See `Client.install_plan`."""
    request = model_service_pb2.InstallModelRequest(source=source, name=name, plan_only=True)
    with connection.stream(
        connection.model.InstallModel,
        request,
        model_service_pb2.InstallModelResponse,
        _PLAN_SECONDS,
    ) as messages:
        for message in messages:
            return InstallPlan(
                model=model_from_message(message.model),
                size_bytes=message.total_bytes,
                license_note=message.license_note,
                url=message.url,
            )
    raise InternalError("The server told nothing about the source.")


def install(
    connection: Connection, source: str, name: str = "", *, accept_license: bool = False
) -> Iterator[InstallProgress]:
    """See `Client.install`."""
    request = model_service_pb2.InstallModelRequest(
        source=source, name=name, accept_license=accept_license
    )
    with connection.stream(
        connection.model.InstallModel,
        request,
        model_service_pb2.InstallModelResponse,
        INSTALL_SECONDS,
    ) as messages:
        for message in messages:
            model = model_from_message(message.model) if message.HasField("model") else None
            yield InstallProgress(
                done_bytes=message.done_bytes,
                total_bytes=message.total_bytes,
                stage=message.stage,
                model=model,
            )


def remove(connection: Connection, model_id: str) -> int:
    """See `Client.remove_model`."""
    request = model_service_pb2.RemoveModelRequest(model_id=model_id)
    return int(connection.call_worker(connection.model.RemoveModel, request).freed_bytes)


def load(connection: Connection, model_id: str) -> Model:
    """See `Client.load_model`."""
    request = model_service_pb2.LoadModelRequest(model_id=model_id)
    return model_from_message(connection.call_worker(connection.model.LoadModel, request).model)


def unload(connection: Connection, model_id: str) -> Model:
    """See `Client.unload_model`."""
    request = model_service_pb2.UnloadModelRequest(model_id=model_id)
    return model_from_message(connection.call_worker(connection.model.UnloadModel, request).model)


def adapters(connection: Connection, model: str = "") -> list[AdapterInfo]:
    """See `Client.adapters`."""
    request = model_service_pb2.ListAdaptersRequest(model=model)
    response = connection.call_worker(connection.model.ListAdapters, request)
    return [
        AdapterInfo(
            name=it.name,
            kind=enum_from_message(
                generation_pb2.AdapterKind, "ADAPTER_KIND", it.kind, AdapterKind, AdapterKind.LORA
            ),
            family=it.family,
            trigger_words=tuple(it.trigger_words),
            size_bytes=it.size_bytes,
            license=it.license,
        )
        for it in response.adapters
    ]


def styles(connection: Connection) -> list[Style]:
    """See `Client.styles`."""
    response = connection.call(connection.model.ListStyles, model_service_pb2.ListStylesRequest())
    return [
        Style(
            name=it.name,
            prompt=it.prompt,
            negative_prompt=it.negative_prompt,
            is_own=it.is_own,
        )
        for it in response.styles
    ]
