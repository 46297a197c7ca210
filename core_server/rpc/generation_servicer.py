"""GenerationService: decode, ask the job service, encode."""

from __future__ import annotations

import contextlib
import time
from collections.abc import AsyncIterator
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp

from core_server.canvas.planner import plan_canvas
from core_server.canvas.sizes import max_model_pixels
from core_server.config import MIB, Limits
from core_server.errors import InvalidRequest, JobNotFound, NotImplementedHere, Unavailable
from core_server.jobs.job import Job
from core_server.jobs.service import JobService
from core_server.pipelines.request import Project
from core_server.rpc.auth import current_owner
from core_server.rpc.calls import Context, patience
from core_server.rpc.convert import canvas, fields
from core_server.rpc.convert.generation import from_proto_generation
from core_server.rpc.convert.image import ENCODINGS, from_proto_header, to_proto_image
from core_server.rpc.convert.job import (
    JOB_STATES,
    PRIORITIES,
    to_proto_event,
    to_proto_job,
    to_proto_time,
)
from core_server.rpc.images import Part, Uploads, parts_of
from core_server.rpc.known import WAIT_SECONDS, profile_for, require_names
from core_server.rpc.shelf import ModelShelf
from scumble.v1 import generation_service_pb2 as messages
from scumble.v1 import image_pb2
from scumble.v1.generation_service_pb2_grpc import GenerationServiceServicer

DEFAULT_PAGE = 50
MAX_PAGE = 1000
MAX_PAGE_BYTES = 2 * MIB
"""Half of what gRPC clients receive unless they are told otherwise."""
MAX_INLINE_BYTES = MIB
_INT32 = 2**31 - 1


class GenerationServicer(GenerationServiceServicer):
    """What each call means is said in generation_service.proto; errors get their status in `rpc.calls`."""

    def __init__(self, jobs: JobService, limits: Limits, shelf: ModelShelf) -> None:
        self._jobs = jobs
        self._shelf = shelf
        self._limits = limits
        self._uploads = Uploads(limits)

    async def PlanCanvas(
        self, request: messages.PlanCanvasRequest, context: Context
    ) -> messages.PlanCanvasResponse:
        """Needs the model's profile, so it waits for a worker that is still starting."""
        side = canvas.MAX_DOCUMENT_SIDE
        size = fields.needed(request, "document", "", "The document's size")
        document = canvas.from_proto_extent(size, "document", side)
        rectangle = fields.needed(request, "selection", "", "The selection's rectangle")
        selection = canvas.from_proto_bounds(rectangle, "selection")
        strength = fields.strength(request, "", 1.0)
        options = canvas.from_proto_options(request.options, "options")
        fields.text(request.model, "model", "The model's name", fields.MAX_NAME_CHARS)
        seconds = patience(context, WAIT_SECONDS)
        await self._shelf.meet(request.model)
        profile = await profile_for(self._jobs.engine, request.model, seconds)
        info = self._jobs.engine.status.info
        most = max_model_pixels(info.device, info.memory_bytes) if info is not None else 0
        plan = plan_canvas(document, selection, options, strength, profile, max_pixels=most)
        return messages.PlanCanvasResponse(plan=canvas.to_proto_plan(plan))

    async def UploadImage(
        self, request_iterator: AsyncIterator[Part], context: Context
    ) -> messages.UploadImageResponse:
        with fields.renamed_fields({"image": "chunk"}):
            image = await self._uploads.receive(
                current_owner(), request_iterator, self._jobs.images
            )
        return messages.UploadImageResponse(image_id=image.image_id)

    async def CreateJob(
        self, request: messages.CreateJobRequest, context: Context
    ) -> messages.CreateJobResponse:
        fields.identifier(request.request_id, "request_id", "The request id")
        priority = PRIORITIES.from_proto(request.priority, "priority")
        client = fields.name_of_client(request.client, "client")
        generation = fields.needed(request, "generation", "", "What to generate")
        wanted = await from_proto_generation(
            generation, "generation", self._limits, self._resolve_image
        )
        if isinstance(wanted, Project):
            raise NotImplementedHere(
                "This version has no task of its own for what one camera sees. Send inpaint or image_to_image with the "
                "view's depth and normals as control_images, as the Blender add-on's Project from View does."
            )
        await self._shelf.meet(wanted.parameters.model)
        require_names(self._jobs.engine.status.info, wanted, "generation")
        with fields.renamed_fields({"": "generation."}):
            job = await self._jobs.create(
                current_owner(), request.request_id, wanted, priority=priority, client=client
            )
        return messages.CreateJobResponse(job=to_proto_job(job))

    async def WatchJob(
        self, request: messages.WatchJobRequest, context: Context
    ) -> AsyncIterator[messages.WatchJobResponse]:
        after = request.after_event_number
        if after < 0:
            raise InvalidRequest(
                "after_event_number",
                f"The event number is {after}; give 0 for all events or the number of the last one seen.",
                allowed="0 or more",
            )
        inline = fields.whole(
            request.inline_bytes, "inline_bytes", "What may come along", 0, _INT32
        )
        owner, job_id = current_owner(), _job_id(request)
        async for event in self._jobs.watch(owner, job_id, after):
            response = messages.WatchJobResponse(event=to_proto_event(event))
            if event.state is not None and event.state.is_final:
                with contextlib.suppress(JobNotFound, Unavailable):  # deleted, or the server stops
                    await self._bring_along(response, await self._jobs.get(owner, job_id), inline)
            yield response

    async def _bring_along(
        self, response: messages.WatchJobResponse, job: Job, inline_bytes: int
    ) -> None:
        """The job that has ended, and its pictures where they are small."""
        response.job.CopyFrom(to_proto_job(job))
        most = min(inline_bytes, MAX_INLINE_BYTES)
        for image_id, image in (await self._jobs.images.of_result(job, most)).items():
            response.images[image_id].CopyFrom(to_proto_image(*image))

    async def GetJob(
        self, request: messages.GetJobRequest, context: Context
    ) -> messages.GetJobResponse:
        job = await self._jobs.get(current_owner(), _job_id(request))
        return messages.GetJobResponse(job=to_proto_job(job))

    async def ListJobs(
        self, request: messages.ListJobsRequest, context: Context
    ) -> messages.ListJobsResponse:
        size = fields.whole(request.page_size, "page_size", "The page size", 0, MAX_PAGE)
        states = [
            JOB_STATES.from_proto(state, f"states[{index}]")
            for index, state in enumerate(request.states)
        ]
        size = size or DEFAULT_PAGE
        while True:
            jobs, next_page = await self._jobs.list(
                current_owner(), states, size, request.page_token
            )
            page = messages.ListJobsResponse(
                jobs=[to_proto_job(job) for job in jobs], next_page_token=next_page
            )
            if page.ByteSize() <= MAX_PAGE_BYTES or size == 1:
                return page
            size = max(1, size // 2)  # a page may be shorter than asked for, a message not longer

    async def CancelJob(
        self, request: messages.CancelJobRequest, context: Context
    ) -> messages.CancelJobResponse:
        job = await self._jobs.cancel(current_owner(), _job_id(request))
        return messages.CancelJobResponse(job=to_proto_job(job))

    async def DeleteJob(
        self, request: messages.DeleteJobRequest, context: Context
    ) -> messages.DeleteJobResponse:
        await self._jobs.delete(current_owner(), _job_id(request))
        return messages.DeleteJobResponse(delete_time=_now())

    async def DownloadImage(
        self, request: messages.DownloadImageRequest, context: Context
    ) -> AsyncIterator[Any]:
        image_id = fields.identifier(request.image_id, "image_id", "The image id")
        encoding = ENCODINGS.from_proto(request.encoding, "encoding") if request.encoding else None
        with fields.renamed_fields({"image": "encoding"}):
            header, pieces = await self._jobs.images.stream(current_owner(), image_id, encoding)
        async with contextlib.aclosing(parts_of(header, pieces)) as parts:
            async for part in parts:
                yield part

    async def _resolve_image(self, source: image_pb2.ImageSource, field: str) -> str:
        match source.WhichOneof("source"):
            case "image_id":
                return fields.identifier(source.image_id, f"{field}.image_id", "The image id")
            case "data":
                at = f"{field}.data"
                message = fields.needed(source.data, "header", f"{at}.", "The header")
                header = from_proto_header(message, f"{at}.header", self._limits)
                names = {"header": f"{at}.header", "image": f"{at}.payload"}
                with fields.renamed_fields(names):
                    image = await self._jobs.put_image(current_owner(), header, source.data.payload)
                return image.image_id
            case _:
                raise InvalidRequest(
                    field, "The image has neither data nor an image_id; give one of them."
                )


def _job_id(request: Any) -> str:
    return fields.identifier(request.job_id, "job_id", "The job id")


def _now() -> Timestamp:
    return to_proto_time(time.time())
