"""Lets in only calls that carry the token: every method of every service, health and reflection included."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextvars import ContextVar
from typing import Any

import grpc
import grpc.aio

from core_server.errors import NotAllowed, ScumbleServerError, Unauthenticated
from core_server.rpc.status import abort_with
from core_server.rpc.tokens import ADMIN, USE, Caller, TokenBook

logger = logging.getLogger(__name__)

ADMIN_METHODS = frozenset(
    {
        "/scumble.v1.ModelService/InstallModel",
        "/scumble.v1.ModelService/RemoveModel",
        "/scumble.v1.ModelService/UnloadModel",
        "/scumble.v1.TrainingService/CreateTraining",
    }
)
"""What changes the server for everybody."""

_caller: ContextVar[Caller] = ContextVar("caller")


def current_caller() -> Caller:
    """Whose token this call came with. Only inside a call."""
    return _caller.get()


def current_owner() -> str:
    """Identity of the caller: what jobs and images belong to. Only inside a call."""
    return _caller.get().owner


class TokenInterceptor(grpc.aio.ServerInterceptor):
    """Answers UNAUTHENTICATED unless the metadata holds `authorization: Bearer <token>`, PERMISSION_DENIED where the
    token lacks the method's scope.

    `token_file` is named in the answer, so that an artist knows where to look.
    """

    def __init__(self, tokens: TokenBook, token_file: str) -> None:
        self._tokens = tokens
        self._wrong = Unauthenticated(
            f"The token of this call is not this server's. The right one is in the file {token_file} on the "
            "server's computer; SCUMBLE_TOKEN, if set, must hold the same. A token that was removed or rotated "
            "counts no more."
        )
        self._refuse_missing = _refusal(
            Unauthenticated(
                "This server needs its token with every call, as the metadata `authorization: Bearer <token>`. "
                f"It is in the file {token_file} on the server's computer."
            )
        )
        self._refuse_wrong = _refusal(self._wrong)

    def why_not(self, caller: Caller) -> ScumbleServerError | None:
        """Why a call that was let in may not go on: its token was removed or rotated since. None: it may."""
        try:
            return None if self._tokens.still_counts(caller) else self._wrong
        except ScumbleServerError as error:
            logger.error("%s", error)
            return None  # files that cannot be read take nobody's work away

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
        try:
            caller = self._tokens.find(given)
        except ScumbleServerError as error:
            logger.error("%s", error)
            return self._refuse_wrong
        if caller is None:
            return self._refuse_wrong
        scope = ADMIN if str(handler_call_details.method) in ADMIN_METHODS else USE
        if not caller.may(scope):
            return _refusal(
                NotAllowed(
                    f"The token {caller.name!r} may not do that: it lacks the scope {scope!r}. Use the server's own "
                    "token, or one made with `scumble token add NAME --admin`.",
                    scope=scope,
                )
            )
        # Each call runs in a task of its own, so the value is seen by its handler and by no other.
        _caller.set(caller)
        return await continuation(handler_call_details)


def _bearer_token(details: grpc.HandlerCallDetails) -> str | None:
    for key, value in details.invocation_metadata or ():
        if key == "authorization" and isinstance(value, str):
            scheme, _, token = value.partition(" ")
            if scheme.lower() == "bearer":
                return token.strip()
    return None


def _refusal(error: ScumbleServerError) -> grpc.RpcMethodHandler[Any, Any]:
    """A handler for any method. Stream to stream: the one shape that answers without reading a message first."""

    async def refuse(
        requests: AsyncIterator[Any], context: grpc.aio.ServicerContext[Any, Any]
    ) -> None:
        await abort_with(context, error)

    return grpc.stream_stream_rpc_method_handler(refuse)
