"""The client itself: what a host talks to."""

from __future__ import annotations

import secrets
import sys
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType

from scumble import __version__
from scumble.client import models, transfers
from scumble.client.catalogue import (
    AdapterInfo,
    InstallPlan,
    InstallProgress,
    Model,
    Scheduler,
    Style,
)
from scumble.client.connection import Connection
from scumble.client.convert import (
    bounds_to_message,
    enum_to_message,
    extent_to_message,
    header_to_message,
    model_from_message,
    options_to_message,
    pixels_from_message,
    plan_from_message,
    scheduler_from_message,
    server_info_from_message,
)
from scumble.client.discovery import locate
from scumble.client.errors import InternalError, VersionMismatch
from scumble.client.jobs import Job, JobStatus, status_from_message
from scumble.client.live import LiveSession
from scumble.client.pixels import Pixels
from scumble.client.requests import Live, Request
from scumble.client.submission import generation_to_message
from scumble.client.values import (
    DEFAULT_OPTIONS,
    Bounds,
    CanvasOptions,
    CanvasPlan,
    Extent,
    JobState,
    Priority,
    ServerInfo,
)
from scumble.v1 import (
    generation_service_pb2,
    image_pb2,
    job_pb2,
    model_service_pb2,
    server_service_pb2,
)

CHUNK_BYTES = 1024 * 1024
"""Payload of one message of an upload; images up to this size travel inside the request instead."""

FALLBACK_EXTENT = Extent(512, 512)
"""For models that do not say at which size they paint best."""

TRANSFER_SECONDS = 300.0
"""Deadline of one upload or download."""


def connect(
    address: str | None = None,
    *,
    token: str | None = None,
    data_dir: Path | None = None,
    timeout: float = 30.0,
    root_certificates: bytes | None = None,
    client_certificate: tuple[bytes, bytes] | None = None,
) -> Client:
    """Connects to a server and checks that it speaks this version.

    address ("host:port") and token: as given, else from SCUMBLE_SERVER and SCUMBLE_TOKEN, else from `server.json` and
    `token` in the data folder (data_dir, SCUMBLE_DATA_DIR, or the platform's own place). A given data_dir outranks
    the environment. timeout: seconds for each unary call; a server on a machine that paints may be slow to answer.
    root_certificates: PEM bytes for a server with TLS, b"" to trust the system's own; None for a loopback server.
    Raises NotRunning, Unauthenticated, VersionMismatch.
    """
    location = locate(address, token, data_dir)
    connection = Connection(location, timeout, root_certificates, client_certificate)
    client = Client(connection)
    try:
        info = client.server_info()
        if _line(info.version) != _line(__version__):
            raise VersionMismatch(
                f"The server at {info.address} is Scumble {info.version} and this client is {__version__}. Update the "
                "older of the two.",
                metadata={"server": info.version, "client": __version__},
            )
    except BaseException:
        client.close()
        raise
    return client


class Client:
    """A connected client. Thread-safe; a context manager that closes itself. Made by `connect`."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._name = _program_name()

    @property
    def address(self) -> str:
        """ "host:port" of the server."""
        return self._connection.location.address

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Ends the connection. Calls that still run in other threads raise Unavailable; jobs go on."""
        self._connection.close()

    def server_info(self) -> ServerInfo:
        """Version, device and limits."""
        request = server_service_pb2.GetServerInfoRequest(client_version=__version__)
        response = self._connection.call(self._connection.server.GetServerInfo, request)
        return server_info_from_message(response, self.address)

    def models(self, include_available: bool = False) -> list[Model]:
        """Installed models; with include_available also those that can be installed."""
        request = model_service_pb2.ListModelsRequest(include_available=include_available)
        response = self._connection.call_worker(self._connection.model.ListModels, request)
        return [model_from_message(model) for model in response.models]

    def unusable_models(self) -> dict[str, str]:
        """What lies in the server's models folder and cannot be used: one sentence each, by name."""
        request = model_service_pb2.ListModelsRequest()
        response = self._connection.call_worker(self._connection.model.ListModels, request)
        return {it.model_id: it.reason for it in response.unusable}

    def best_extent(self, model: str = "") -> Extent:
        """The size to paint at where the artist has chosen none: the model's best, FALLBACK_EXTENT if it names none."""
        for known in self.models():
            if known.model_id == model or (not model and known.is_default):
                return known.best_extent or FALLBACK_EXTENT
        return FALLBACK_EXTENT

    def schedulers(self, model: str = "") -> list[Scheduler]:
        """The schedulers a model can use, in the order to show them. Raises ModelNotFound."""
        request = model_service_pb2.ListSchedulersRequest(model=model)
        response = self._connection.call_worker(self._connection.model.ListSchedulers, request)
        return [scheduler_from_message(scheduler) for scheduler in response.schedulers]

    def adapters(self, model: str = "") -> list[AdapterInfo]:
        """LoRAs and textual inversions on the server; with a model only those that fit it. Raises ModelNotFound."""
        return models.adapters(self._connection, model)

    def styles(self) -> list[Style]:
        """The prompt templates that requests may name, in the order to show them. Raises InvalidRequest for a broken
        styles.json, Unimplemented by a server that is older than this call."""
        return models.styles(self._connection)

    def install_plan(self, source: str, name: str = "") -> InstallPlan:
        """What installing `source` would bring, and its licence; nothing is fetched but that.

        source: a catalogue id, OWNER/NAME[/FILE][@REVISION] of a Hub model, an https address or a path the server can
        read. Raises ModelNotFound, FailedPrecondition, Unavailable, ModelLoadFailed, InvalidRequest.
        """
        return models.install_plan(self._connection, source, name)

    def install(
        self, source: str, name: str = "", *, accept_license: bool = False
    ) -> Iterator[InstallProgress]:
        """Installs, telling how far it is; leaving the loop stops it, and the same call goes on from there.

        accept_license: the licence was read; needed where it does not plainly allow commercial use.
        Raises as `install_plan`, and LimitExceeded for a full disk.
        """
        return models.install(self._connection, source, name, accept_license=accept_license)

    def remove_model(self, model_id: str) -> int:
        """Deletes what is installed under a name; returns the freed bytes. Raises ModelNotFound, FailedPrecondition."""
        return models.remove(self._connection, model_id)

    def load_model(self, model_id: str) -> Model:
        """Loads a model before it is needed. Raises ModelNotFound, ModelLoadFailed, OutOfMemory."""
        return models.load(self._connection, model_id)

    def unload_model(self, model_id: str) -> Model:
        """Gives a model's memory back. Raises ModelNotFound."""
        return models.unload(self._connection, model_id)

    def plan(
        self,
        document: Extent,
        selection: Bounds,
        *,
        model: str = "",
        strength: float = 1.0,
        options: CanvasOptions = DEFAULT_OPTIONS,
    ) -> CanvasPlan:
        """The rectangle to read from the document, and all that follows from it.

        Raises InvalidRequest, ModelNotFound.
        """
        request = generation_service_pb2.PlanCanvasRequest(
            document=extent_to_message(Extent(*document)),
            selection=bounds_to_message(Bounds(*selection)),
            model=model,
            strength=strength,
            options=options_to_message(options),
        )
        response = self._connection.call_worker(self._connection.generation.PlanCanvas, request)
        return plan_from_message(response.plan)

    def upload(self, pixels: Pixels) -> str:
        """Stores pixels on the server and returns their image_id; the same pixels always get the same one."""
        view = pixels.view

        def parts() -> Iterator[transfers.Part]:
            yield header_to_message(pixels)
            for start in range(0, len(view), CHUNK_BYTES):
                yield view[start : start + CHUNK_BYTES]

        method = self._connection.upload_image
        return self._connection.upload(method, parts, TRANSFER_SECONDS).image_id

    def download(self, image_id: str) -> Pixels:
        """The raw pixels of an image. Raises ImageNotFound."""
        request = generation_service_pb2.DownloadImageRequest(
            image_id=image_id, encoding=image_pb2.IMAGE_ENCODING_RAW
        )
        header: image_pb2.ImageHeader | None = None
        payload = bytearray()
        with self._connection.stream(
            self._connection.download_image, request, transfers.DownloadPart, TRANSFER_SECONDS
        ) as parts:
            for part in parts:
                if part.header is not None:
                    header = part.header
                else:
                    payload += part.chunk
        if header is None:
            raise InternalError(f"The server sent no header for image {image_id}.")
        return pixels_from_message(header, payload)

    def submit(
        self,
        request: Request,
        *,
        request_id: str | None = None,
        priority: Priority = Priority.NORMAL,
    ) -> Job:
        """Hands a request in; returns when the server has it on disk. Images go along as needed.

        request_id: 1..128 visible ASCII characters, unique for each wish; drawn if not given. Repeating one returns the
        first job again, which makes repeating after a lost connection safe: it is done here. priority: among the jobs
        of this token; the server lets tokens, and the clients of a token, take turns.
        Raises InvalidRequest, ModelNotFound, ImageNotFound, LimitExceeded, Unavailable ...
        """
        message = generation_service_pb2.CreateJobRequest(
            request_id=request_id or uuid.uuid4().hex,
            generation=generation_to_message(request, self.upload, CHUNK_BYTES),
            priority=enum_to_message(job_pb2.Priority, "PRIORITY", priority),
            client=self._name,
        )
        method = self._connection.generation.CreateJob
        job = self._connection.call(method, message, retry=True).job
        return Job(self._connection, job.job_id, self.download, seen=0)

    def live(self, settings: Live) -> LiveSession:
        """Opens a live session: canvases go in, the picture of the newest one comes out.

        Raises InvalidRequest here for what cannot be sent; what the server refuses is raised by the session's calls.
        """
        return LiveSession(self._connection, settings, self.server_info().limits.max_message_bytes)

    def job(self, job_id: str) -> Job:
        """A job by its id. Asks the server nothing yet."""
        return Job(self._connection, job_id, self.download)

    def jobs(self, states: Sequence[JobState] = (), limit: int = 50) -> list[JobStatus]:
        """The newest jobs first, at most `limit`; only those in `states` if there are any."""
        found: list[JobStatus] = []
        token = ""
        while len(found) < limit:
            request = generation_service_pb2.ListJobsRequest(
                page_size=min(limit - len(found), 1000),
                page_token=token,
                states=[enum_to_message(job_pb2.JobState, "JOB_STATE", s) for s in states],
            )
            response = self._connection.call(
                self._connection.generation.ListJobs, request, retry=True
            )
            found += [status_from_message(job) for job in response.jobs]
            token = response.next_page_token
            if not token:
                break
        return found


def _program_name() -> str:
    """Tells this client from others of the same token: the queue takes turns between them."""
    program = Path(sys.argv[0]).stem if sys.argv and sys.argv[0] else "python"
    visible = "".join(letter for letter in program if "!" <= letter <= "~")
    return f"{visible[:40]}-{secrets.token_hex(4)}"


def _line(version: str) -> str:
    """The part of a version within which the contract only grows: "0.3" of "0.3.1", "2" of "2.1.0"."""
    major, _, rest = version.partition(".")
    return f"{major}.{rest.partition('.')[0]}" if major == "0" else major
