"""LiveService: reads what the client sends as fast as it comes, writes pictures as fast as they are taken."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

from core_server.config import Limits
from core_server.errors import InvalidRequest, ScumbleServerError
from core_server.jobs.live import LiveSession, idle_error
from core_server.jobs.live_wishes import LiveAnswer
from core_server.jobs.service import JobService
from core_server.pipelines.request import ImageToImage, Parameters
from core_server.rpc.auth import current_owner
from core_server.rpc.calls import Context
from core_server.rpc.convert.live import from_proto_wish, to_proto_answer
from core_server.rpc.known import require_names
from core_server.rpc.live_frames import Request, Response
from core_server.rpc.shelf import ModelShelf
from scumble.v1.live_service_pb2_grpc import LiveServiceServicer


class LiveServicer(LiveServiceServicer):
    """What the call means is said in live_service.proto."""

    def __init__(self, jobs: JobService, limits: Limits, shelf: ModelShelf) -> None:
        self._jobs = jobs
        self._shelf = shelf
        self._limits = limits

    async def Paint(  # type: ignore[override]  # a coroutine that writes, which grpc.aio takes as well
        self,
        request_iterator: AsyncIterator[Request],
        context: Context,
    ) -> None:
        """Writes to the context itself, so that a picture nobody takes can be given up."""
        seconds = self._limits.max_live_idle_seconds
        with self._jobs.live.session(current_owner()) as session:
            reading = asyncio.create_task(self._read(request_iterator, session))
            try:
                async with contextlib.aclosing(session.answers()) as answers:
                    async for answer in answers:
                        try:
                            async with asyncio.timeout(seconds):
                                await context.write(_response(answer))
                        except TimeoutError:
                            raise idle_error(seconds) from None
            finally:
                reading.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await reading

    async def _read(self, requests: AsyncIterator[Request], session: LiveSession) -> None:
        parameters: Parameters | None = None
        try:
            async for request in requests:
                wish = await from_proto_wish(
                    request.message, request.payload, parameters, self._limits
                )
                if wish.parameters is not None and wish.parameters != parameters:
                    parameters = wish.parameters
                    await self._shelf.meet(parameters.model)
                    self._require_names(parameters)
                session.put(wish)
                await asyncio.sleep(0)  # it goes to the worker before the next one is asked for
        except ScumbleServerError as error:
            session.end(error)
        except Exception as error:
            session.end(ScumbleServerError(f"The live stream broke ({type(error).__name__})."))
            raise
        else:
            session.end()

    def _require_names(self, parameters: Parameters) -> None:
        """Errors: ModelNotFound, NotAllowed, InvalidRequest."""
        task = ImageToImage(parameters=parameters, image="", strength=1.0)
        try:
            require_names(self._jobs.engine.status.info, task, "")
        except InvalidRequest as error:
            field = error.field.removeprefix(".")
            raise InvalidRequest(field, error.message, allowed=error.allowed) from error


def _response(answer: LiveAnswer) -> Response:
    return Response(to_proto_answer(answer), answer.payload)
