"""What every call has around it: errors become a status, and streams end when the server stops."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any, Never

import grpc
import grpc.aio
from google.protobuf.message import DecodeError

from core_server.errors import InvalidRequest, LimitExceeded, ScumbleServerError, Unavailable
from core_server.rpc import chunks, live_frames
from core_server.rpc.auth import current_caller
from core_server.rpc.connections import Connections
from core_server.rpc.status import INTERNAL_SENTENCE, abort_with
from core_server.rpc.tokens import Caller

logger = logging.getLogger(__name__)

_ANSWER_SECONDS = 0.5

Context = grpc.aio.ServicerContext[Any, Any]


@dataclass(frozen=True, slots=True)
class _Undecodable:
    """Stands for bytes that are no message of the method's type; they are refused where errors get their status."""


@dataclass(slots=True)
class _UnderWay:
    """A call. is_stream: of responses. end: what it was ended with by us."""

    caller: Caller
    is_stream: bool
    end: ScumbleServerError | None = None


class CallInterceptor(grpc.aio.ServerInterceptor):
    """Turns what a servicer raises into the call's status, and ends calls for a shutdown or a revoked token.

    Errors of our tree keep their sentence. Anything else is a mistake of ours: it is logged with its traceback and
    the caller gets one plain sentence, never a stack.
    """

    def __init__(self, max_calls_per_owner: int, connections: Connections) -> None:
        self._max_calls_per_owner = max_calls_per_owner
        self._connections = connections
        self._calls_of: Counter[str] = Counter()
        self._calls: dict[asyncio.Task[Any], _UnderWay] = {}

    def end_streams(self) -> None:
        """Ends open streams of responses with UNAVAILABLE, so that their readers reconnect to the next server."""
        for task, call in self._calls.items():
            if call.is_stream:
                call.end = Unavailable("The server is stopping. Connect again in a moment.")
                task.cancel()

    def end_revoked(self, why_not: Callable[[Caller], ScumbleServerError | None]) -> None:
        """Ends every call whose caller may not go on, with the reason that `why_not` gives."""
        verdicts = {
            caller: why_not(caller) for caller in {it.caller for it in self._calls.values()}
        }
        for task, call in self._calls.items():
            if call.end is None and (error := verdicts[call.caller]) is not None:
                call.end = error
                task.cancel()

    async def intercept_service(
        self,
        continuation: Callable[
            [grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler[Any, Any] | None]
        ],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler[Any, Any] | None:
        """Wraps the method's handler; None stands for an unknown method and stays None."""
        handler = await continuation(handler_call_details)
        if handler is None:
            return handler
        method = str(handler_call_details.method)
        match handler.request_streaming, handler.response_streaming:
            case False, False:
                make, inner = grpc.unary_unary_rpc_method_handler, handler.unary_unary
            case True, False:
                make, inner = grpc.stream_unary_rpc_method_handler, handler.stream_unary
            case False, True:
                make, inner = grpc.unary_stream_rpc_method_handler, handler.unary_stream
            case _:
                make, inner = grpc.stream_stream_rpc_method_handler, handler.stream_stream
        assert inner is not None
        wrap = self._streaming if handler.response_streaming else self._single
        decoded = _decoded_stream if handler.request_streaming else _decoded
        return make(
            wrap(method, inner, decoded),
            _lenient(_reads(method, handler.request_deserializer)),
            _writes(method, handler.response_serializer),
        )

    def _single(
        self, method: str, inner: Callable[..., Any], decoded: Callable[[Any], Any]
    ) -> Callable[..., Any]:
        async def call(request: Any, context: Context) -> Any:
            async with self._ended_well(method, context, is_stream=False):
                return await inner(decoded(request), context)

        return call

    def _streaming(
        self, method: str, inner: Callable[..., Any], decoded: Callable[[Any], Any]
    ) -> Callable[..., Any]:
        async def call(request: Any, context: Context) -> None:
            async with self._ended_well(method, context, is_stream=True):
                responses = inner(decoded(request), context)
                if isinstance(responses, AsyncIterator):
                    async for response in responses:
                        await context.write(response)
                else:  # the servicer writes to the context itself, as health's does
                    await responses

        return call

    @asynccontextmanager
    async def _ended_well(
        self, method: str, context: Context, *, is_stream: bool
    ) -> AsyncIterator[None]:
        """The one place where every call ends: whatever stops it becomes its status."""
        task = asyncio.current_task()
        assert task is not None
        under_way = self._calls[task] = _UnderWay(current_caller(), is_stream)
        try:
            await self._connections.check(context.peer())
            with self._counted(under_way.caller.owner):
                yield
        except asyncio.CancelledError:
            if under_way.end is None:
                raise  # the caller went away
            await abort_with(context, under_way.end)
        except Exception as error:  # noqa: BLE001
            await _fail(method, context, error)
        finally:
            del self._calls[task]

    @contextmanager
    def _counted(self, owner: str) -> Iterator[None]:
        """Errors: LimitExceeded where the caller's token has too many calls under way already."""
        limit = self._max_calls_per_owner
        if self._calls_of[owner] >= limit:
            raise LimitExceeded(
                f"This token has {limit} calls under way (max_calls_per_owner); end some watches or wait.",
                limit="max_calls_per_owner",
                value=str(limit),
            )
        self._calls_of[owner] += 1
        try:
            yield
        finally:
            self._calls_of[owner] -= 1
            if not self._calls_of[owner]:
                del self._calls_of[owner]


def patience(context: Context, most_seconds: float) -> float:
    """How long a call may wait so that its caller still hears why: a little less than its deadline."""
    remaining = context.time_remaining()
    if remaining is None:
        return most_seconds
    return max(0.0, min(most_seconds, remaining - _ANSWER_SECONDS))


async def _fail(method: str, context: Context, error: Exception) -> Never:
    if isinstance(error, grpc.aio.AbortError):  # has its status already
        raise error
    if not isinstance(error, ScumbleServerError):
        logger.error("%s failed by a mistake of ours", method, exc_info=error)
        error = ScumbleServerError(INTERNAL_SENTENCE)
    else:
        logger.debug("%s: %s: %s", method, error.reason, error.message)
    await abort_with(context, error)


def _lenient(deserialize: Callable[[bytes], Any] | None) -> Callable[[bytes], Any] | None:
    """A deserializer that lets the call go on: one that raises would end it as UNKNOWN, with Python's own text."""
    if deserialize is None:
        return None

    def decode(data: bytes) -> Any:
        try:
            return deserialize(data)
        except DecodeError:
            return _Undecodable()

    return decode


def _reads(method: str, otherwise: Callable[[bytes], Any] | None) -> Callable[[bytes], Any] | None:
    """What carries pictures is read without protobuf's copies."""
    return live_frames.request_deserializer(method, chunks.request_deserializer(method, otherwise))


def _writes(method: str, otherwise: Callable[[Any], bytes] | None) -> Callable[[Any], bytes] | None:
    return live_frames.response_serializer(method, chunks.response_serializer(method, otherwise))


async def _decoded_stream(requests: AsyncIterator[Any]) -> AsyncIterator[Any]:
    async for request in requests:
        yield _decoded(request)


def _decoded(request: Any) -> Any:
    if isinstance(request, _Undecodable):
        raise InvalidRequest(
            "",
            "The request's bytes are no message of this method's type. Client and server must speak scumble.v1.",
        )
    return request
