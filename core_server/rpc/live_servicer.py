"""LiveService: part of the contract, not of this version."""

from __future__ import annotations

from collections.abc import AsyncIterator

from core_server.errors import NotImplementedHere
from core_server.rpc.calls import Context
from scumble.v1 import live_service_pb2 as messages
from scumble.v1.live_service_pb2_grpc import LiveServiceServicer


class LiveServicer(LiveServiceServicer):
    """Says so."""

    async def Paint(
        self,
        request_iterator: AsyncIterator[messages.PaintRequest],
        context: Context,
    ) -> AsyncIterator[messages.PaintResponse]:
        raise NotImplementedHere(
            "This version of the server cannot paint live; ask for single pictures with CreateJob."
        )
        yield  # makes this a stream
