"""What the tests ask a gateway for, in few words."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np

from scumble.v1 import generation_pb2, image_pb2, job_pb2
from scumble.v1 import generation_service_pb2 as messages
from tests.core_server.rpc.gateway import Gateway

_numbers = itertools.count()


def wish() -> str:
    """A request id nobody used yet."""
    return f"wish-{next(_numbers)}"


def text_to_image(prompt: str = "slate", **parameters: object) -> generation_pb2.Generation:
    return generation_pb2.Generation(
        parameters=generation_pb2.GenerationParameters(prompt=prompt, **parameters),
        text_to_image=generation_pb2.TextToImageTask(extent=image_pb2.Extent(width=24, height=16)),
    )


def header_of(array: np.ndarray, **fields: object) -> image_pb2.ImageHeader:
    kinds = {"uint8": "U8", "uint16": "U16", "float16": "F16", "float32": "F32"}
    values = {
        "extent": image_pb2.Extent(width=array.shape[1], height=array.shape[0]),
        "channels": array.shape[2],
        "sample_type": f"SAMPLE_TYPE_{kinds[array.dtype.name]}",
        "color_space": "COLOR_SPACE_SRGB",
        "encoding": "IMAGE_ENCODING_RAW",
    }
    return image_pb2.ImageHeader(**(values | fields))


def upload(gateway: Gateway, array: np.ndarray, **fields: object) -> str:
    payload = array.tobytes()

    def parts() -> Iterator[messages.UploadImageRequest]:
        yield messages.UploadImageRequest(header=header_of(array, **fields))
        for start in range(0, len(payload), 1 << 20):
            yield messages.UploadImageRequest(chunk=payload[start : start + (1 << 20)])

    return gateway.generation.UploadImage(parts()).image_id


def download(
    gateway: Gateway, image_id: str, encoding: str = "IMAGE_ENCODING_UNSPECIFIED"
) -> tuple[image_pb2.ImageHeader, bytes]:
    request = messages.DownloadImageRequest(image_id=image_id, encoding=encoding)
    first, *rest = gateway.generation.DownloadImage(request)
    assert all(len(part.chunk) <= 1 << 20 for part in rest)
    return first.header, b"".join(part.chunk for part in rest)


def create(
    gateway: Gateway, generation: generation_pb2.Generation, request_id: str = ""
) -> job_pb2.Job:
    request = messages.CreateJobRequest(request_id=request_id or wish(), generation=generation)
    return gateway.generation.CreateJob(request).job


def watch(gateway: Gateway, job_id: str, after: int = 0) -> list[job_pb2.JobEvent]:
    request = messages.WatchJobRequest(job_id=job_id, after_event_number=after)
    return [response.event for response in gateway.generation.WatchJob(request)]


def finished(gateway: Gateway, job_id: str) -> job_pb2.Job:
    assert watch(gateway, job_id)[-1].state == job_pb2.JOB_STATE_SUCCEEDED
    return gateway.generation.GetJob(messages.GetJobRequest(job_id=job_id)).job
