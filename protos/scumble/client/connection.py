"""One channel to one server: token, deadlines and errors of every call. Thread-safe."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol, TypeVar, cast

import grpc

from scumble.client import live_stream, transfers
from scumble.client.discovery import TOKEN_VARIABLE, Location
from scumble.client.errors import NotRunning, ScumbleError, Unauthenticated, Unavailable
from scumble.client.pairing import CERTIFICATE_NAME
from scumble.client.status import from_rpc_error
from scumble.v1.generation_service_pb2_grpc import GenerationServiceStub
from scumble.v1.model_service_pb2_grpc import ModelServiceStub
from scumble.v1.server_service_pb2_grpc import ServerServiceStub

LOST_SECONDS = 6.0
"""How long a call that is safe to repeat looks for a server that has gone away: enough for a restart."""

STARTING_SECONDS = 90.0
"""How long a call that needs the worker waits for it to start."""

CONNECTING_SECONDS = 20
"""How long a server may take to accept a connection; where nothing listens, that is known at once."""

FIRST_DELAY, LONGEST_DELAY = 0.1, 3.0

Message = TypeVar("Message")
ResponseT_co = TypeVar("ResponseT_co", covariant=True)


class Stream(Protocol[ResponseT_co]):
    """A running server stream."""

    def __iter__(self) -> Iterator[ResponseT_co]: ...

    def cancel(self) -> bool:
        """Ends it."""


_OPTIONS: tuple[tuple[str, int | str], ...] = (
    # A proxy in the environment is for the web, not for the program next door.
    ("grpc.enable_http_proxy", 0),
    # A live picture in one frame, not in fifty of 16 KiB each.
    ("grpc.http2.max_frame_size", 1024 * 1024),
    # A pool of its own: a channel that is made after a failed one must not inherit its waiting time.
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 2000),
    # What gRPC calls a minimum is how long one attempt to connect may take: a busy server, or one far away, is slow.
    ("grpc.min_reconnect_backoff_ms", CONNECTING_SECONDS * 1000),
)


class Connection:
    """A channel with its token.

    root_certificates: PEM bytes to trust, b"" for the system's own; None for a plain (loopback) connection, or for
    what the location says where it asks for TLS. client_certificate: our own certificate and its key, PEM, for a server
    that wants one. timeout: seconds a unary call may take.
    """

    def __init__(
        self,
        location: Location,
        timeout: float,
        root_certificates: bytes | None = None,
        client_certificate: tuple[bytes, bytes] | None = None,
    ) -> None:
        self.location = location
        self.timeout = timeout
        if root_certificates is None and not location.tls:
            self._channel = grpc.insecure_channel(location.address, options=_OPTIONS)
        else:
            options = list(_OPTIONS)
            if root_certificates is None and location.certificate:
                # Pinned: this certificate and no other, so that it does not matter what it is made out to.
                root_certificates = location.certificate
                options.append(("grpc.ssl_target_name_override", CERTIFICATE_NAME))
            chain, key = client_certificate or (None, None)
            credentials = grpc.ssl_channel_credentials(root_certificates or None, key, chain)
            self._channel = grpc.secure_channel(location.address, credentials, options=options)
        self._metadata = (("authorization", f"Bearer {location.token}"),) if location.token else ()
        self._closed = threading.Event()
        self.generation = GenerationServiceStub(self._channel)
        self.upload_image = transfers.upload_image(self._channel)
        self.download_image = transfers.download_image(self._channel)
        self.paint = live_stream.paint(self._channel)
        self.model = ModelServiceStub(self._channel)
        self.server = ServerServiceStub(self._channel)

    def close(self) -> None:
        """Ends all running calls."""
        self._closed.set()
        self._channel.close()

    def pause(self, seconds: float) -> None:
        """Waits. Raises Unavailable as soon as the connection is closed."""
        if self._closed.wait(seconds):
            raise Unavailable("This client is closed; connect again.")

    def call(
        self, method: Callable[..., Message], request: object, *, retry: bool = False
    ) -> Message:
        """One unary call. retry: repeats it while the server is away; only for calls that may run twice."""
        if not retry:
            return self._call(method, request, self.timeout)
        return self._patiently(lambda: self._call(method, request, self.timeout), LOST_SECONDS)

    def call_worker(self, method: Callable[..., Message], request: object) -> Message:
        """One unary call that the server may answer only once its worker has started."""
        return self._patiently(
            lambda: self._call(method, request, STARTING_SECONDS), STARTING_SECONDS
        )

    def upload(
        self, method: Callable[..., Message], parts: Callable[[], Iterator[object]], timeout: float
    ) -> Message:
        """One client-streaming call that may run twice; `parts` makes its messages anew for each try."""
        return self._patiently(lambda: self._call(method, parts(), timeout), LOST_SECONDS)

    @contextmanager
    def stream(
        self,
        method: Callable[..., Any],
        request: object,
        response: type[Message],
        timeout: float | None,
    ) -> Iterator[Stream[Message]]:
        """One server-streaming call, or one with streams both ways where `request` is an iterator; cancelled when the
        block is left. `response` names the message's type. timeout: None for no deadline."""
        with self._errors():
            call = method(request, timeout=timeout, metadata=self._metadata)
            try:
                yield cast("Stream[Message]", call)
            finally:
                call.cancel()

    def _call(self, method: Callable[..., Message], request: object, timeout: float) -> Message:
        with self._errors():
            return method(request, timeout=timeout, metadata=self._metadata)

    def _patiently(self, call: Callable[[], Message], seconds: float) -> Message:
        """Repeats a call while the server is away, and for `seconds` while it says that it is not ready."""
        start, delay = time.monotonic(), FIRST_DELAY
        while True:
            try:
                return call()
            except (NotRunning, Unavailable) as error:
                most = LOST_SECONDS if isinstance(error, NotRunning) else seconds
                if time.monotonic() - start + delay > most:
                    raise
            self.pause(delay)
            delay = min(delay * 2, LONGEST_DELAY)

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """Turns grpc's failures into errors of the tree."""
        try:
            yield
        except grpc.RpcError as error:
            raise self._explain(from_rpc_error(error, self.location.address)) from error
        except ValueError as error:
            # What grpc raises for a call on a closed channel; anything else is not ours to hide.
            if self._closed.is_set():
                raise Unavailable("This client is closed; connect again.") from error
            raise

    def _explain(self, error: ScumbleError) -> ScumbleError:
        """Adds what only this side knows: where the token came from."""
        if not isinstance(error, Unauthenticated):
            return error
        if not self.location.token:
            return Unauthenticated(
                f"The server at {self.location.address} wants a token and none was found. Set {TOKEN_VARIABLE} to the "
                "contents of the file `token` in the server's data folder."
            )
        return Unauthenticated(
            f"The server at {self.location.address} refused the token from {self.location.token_source}. Set "
            f"{TOKEN_VARIABLE} to the contents of the file `token` in that server's data folder."
        )
