"""Lets in only calls that carry the token: every method of every service, health and reflection included."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextvars import ContextVar
from typing import Any

import grpc
import grpc.aio

from core_server.errors import Unauthenticated
from core_server.rpc.status import abort_with
from core_server.rpc.token import owner_of, same_token

_owner: ContextVar[str] = ContextVar("owner")


def current_owner() -> str:
    """Identity of the caller, derived from its token. Only inside a call."""
    return _owner.get()


class TokenInterceptor(grpc.aio.ServerInterceptor):
    """Answers UNAUTHENTICATED unless the metadata holds `authorization: Bearer <token>`.

    `token_file` is named in the answer, so that an artist knows where to look.
    """

    def __init__(self, token: str, token_file: str) -> None:
        self._token = token
        self._owner = owner_of(token)
        self._refuse_missing = _refusal(
            "This server needs its token with every call, as the metadata `authorization: Bearer <token>`. "
            f"It is in the file {token_file} on the server's computer."
        )
        self._refuse_wrong = _refusal(
            f"The token of this call is not this server's. The right one is in the file {token_file} on the "
            "server's computer; SCUMBLE_TOKEN, if set, must hold the same."
        )

    async def intercept_service(
        self,
        continuation: Callable[
            [grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler[Any, Any] | None]
        ],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler[Any, Any] | None:
        """Passes the call on, or answers it here. Unknown methods are refused alike: strangers learn nothing."""
        given = _bearer_token(handler_call_details)
        if given is None:
            return self._refuse_missing
        if not same_token(given, self._token):
            return self._refuse_wrong
        # Each call runs in a task of its own, so the value is seen by its handler and by no other.
        _owner.set(self._owner)
        return await continuation(handler_call_details)


def _bearer_token(details: grpc.HandlerCallDetails) -> str | None:
    for key, value in details.invocation_metadata or ():
        if key == "authorization" and isinstance(value, str):
            scheme, _, token = value.partition(" ")
            if scheme.lower() == "bearer":
                return token.strip()
    return None


def _refusal(sentence: str) -> grpc.RpcMethodHandler[Any, Any]:
    """A handler for any method. Stream to stream: the one shape that answers without reading a message first."""
    error = Unauthenticated(sentence)

    async def refuse(
        requests: AsyncIterator[Any], context: grpc.aio.ServicerContext[Any, Any]
    ) -> None:
        await abort_with(context, error)

    return grpc.stream_stream_rpc_method_handler(refuse)
