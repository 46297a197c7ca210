"""Random calls of every method over the wire, against a whole gateway in a process of its own."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import random
import re
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import numpy as np
import psutil
from google.protobuf import descriptor_pool, message_factory

from core_server.canvas.pixels import ColorSpace, Pixels
from core_server.errors import InvalidRequest
from core_server.jobs import codec
from core_server.jobs.job import ImageEncoding
from core_server.rpc.server import SERVICES
from scumble.v1.generation_service_pb2 import UploadImageRequest
from scumble.v1.generation_service_pb2_grpc import GenerationServiceStub
from scumble.v1.server_service_pb2 import GetServerInfoRequest
from scumble.v1.server_service_pb2_grpc import ServerServiceStub
from tests.core_server.rpc.asking import header_of
from tests.crash.harness import Gateway
from tests.fuzz.messages import Maker

LEFT_OUT = {"InstallModel", "RemoveModel", "CreateTraining"}
"""What would fetch or delete models in earnest, or work for hours."""
SECONDS = 120.0
AT_ONCE = 8
BAD = {grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN, grpc.StatusCode.DEADLINE_EXCEEDED}
_ID = re.compile(rb"[0-9a-f]{64}|[0-9a-f]{32}")


@dataclass
class Report:
    """What came of it. Memory in bytes, of the gateway alone."""

    calls: int = 0
    codes: Counter[str] = field(default_factory=Counter)
    broken: list[str] = field(default_factory=list)
    memory_warm: int = 0
    """With the image libraries loaded, which the gateway does for the first file, and every format decoded once."""
    memory: list[int] = field(default_factory=list)
    """After each quarter of the calls."""
    slowest: float = 0.0

    @property
    def growth(self) -> float:
        """Of the memory, from the first quarter to the last, as a share."""
        return self.memory[-1] / self.memory[0] - 1 if self.memory else 0.0

    def __str__(self) -> str:
        codes = ", ".join(f"{count} {code}" for code, count in self.codes.most_common())
        warm, *quarters = (f"{it / 2**20:.1f}" for it in (self.memory_warm, *self.memory))
        return (
            f"{self.calls} calls over the wire, slowest {self.slowest:.2f} s; memory {warm} MiB warm, "
            f"{', '.join(quarters)} after each quarter ({self.growth:+.1%})\nanswers: {codes}\n"
            f"broken: {self.broken or 'none'}"
        )


class _Method:
    """Streams of requests go through a blocking channel: an asyncio one loses the server's status when the server
    answers before it has read everything."""

    def __init__(
        self, channel: grpc.aio.Channel, blocking: grpc.Channel, service: str, method: Any
    ) -> None:
        self.name = f"/{service}/{method.name}"
        self.kind = message_factory.GetMessageClass(method.input_type)
        self.streams_in = method.client_streaming
        self.streams_out = method.server_streaming
        shape = "_".join("stream" if it else "unary" for it in (self.streams_in, self.streams_out))
        self.call = getattr(blocking if self.streams_in else channel, shape)(self.name)


async def _one(method: _Method, maker: Maker, token: str, report: Report) -> None:
    request = maker.message(method.kind)
    metadata = (("authorization", f"Bearer {token}"),)
    code, text = grpc.StatusCode.OK, ""
    started = time.monotonic()
    try:
        if method.streams_in:
            count = maker.chance.randint(0, 4)
            parts = [maker.data(maker.message(method.kind)) for _ in range(count)]
            for answer in await asyncio.to_thread(_blocking, method, parts, metadata):
                _remember(maker, answer)
        elif method.streams_out:
            call = method.call(maker.data(request), metadata=metadata, timeout=SECONDS)
            leave_after = maker.chance.choice((1, 3, 10))
            async for answer in call:
                _remember(maker, answer)
                leave_after -= 1
                if leave_after == 0:  # clients vanish
                    call.cancel()
                    break
        else:
            given = maker.data(request)
            _remember(maker, await method.call(given, metadata=metadata, timeout=SECONDS))
    except grpc.RpcError as error:
        code, text = error.code(), error.details() or ""
    except asyncio.CancelledError:
        code = grpc.StatusCode.CANCELLED
    report.slowest = max(report.slowest, time.monotonic() - started)
    report.calls += 1
    report.codes[code.name] += 1
    if code in BAD and len(report.broken) < 20:
        report.broken.append(f"{method.name}: {code.name} {text} for {str(request)[:600]!r}")


def _blocking(method: _Method, parts: list[bytes], metadata: Any) -> list[bytes]:
    answer = method.call(iter(parts), metadata=metadata, timeout=SECONDS)
    return list(answer) if method.streams_out else [answer]


def _remember(maker: Maker, answer: bytes) -> None:
    maker.seen += [it.decode() for it in _ID.findall(answer)][:4]
    del maker.seen[:-400]


async def _run(gateway: Gateway, token: str, calls: int, seed: int) -> Report:
    report, maker = Report(), Maker(random.Random(seed))
    process = psutil.Process(gateway.process.pid)
    with grpc.insecure_channel(gateway.address) as blocking:
        channel = grpc.aio.insecure_channel(gateway.address)
        methods = [
            _Method(channel, blocking, service, method)
            for service in SERVICES
            if service.startswith("scumble.")
            for method in descriptor_pool.Default().FindServiceByName(service).methods
            if method.name not in LEFT_OUT
        ]
        weights = [
            8 if it.name.endswith(("CreateJob", "PlanCanvas", "UploadImage")) else 2
            for it in methods
        ]
        await asyncio.to_thread(_warm_up, blocking, token)
        report.memory_warm = await _settled(channel, token, process)
        while report.calls < calls:
            chosen = maker.chance.choices(methods, weights, k=AT_ONCE)
            await asyncio.gather(*(_one(it, maker, token, report) for it in chosen))
            if gateway.process.poll() is not None:
                report.broken.append(f"the gateway ended with {gateway.process.returncode}")
                break
            if report.calls * 4 >= calls * (len(report.memory) + 1):
                report.memory.append(await _settled(channel, token, process))
        await channel.close()
    return report


def _warm_up(channel: grpc.Channel, token: str) -> None:
    """A sound picture of every format and sample type. What this adds are the libraries' pages, once, and no leak."""
    generation = GenerationServiceStub(channel)
    for encoding, dtype in itertools.product(ImageEncoding, ("uint8", "uint16", "float32")):
        array = np.zeros((16, 24, 3), dtype)
        with contextlib.suppress(InvalidRequest):  # of types that the format does not hold
            data = codec.encode(Pixels(array, ColorSpace.SRGB), encoding)
            header = header_of(array, encoding=f"IMAGE_ENCODING_{encoding.name}")
            parts = (UploadImageRequest(header=header), UploadImageRequest(chunk=data))
            generation.UploadImage(iter(parts), metadata=(("authorization", f"Bearer {token}"),))


async def _settled(channel: grpc.aio.Channel, token: str, process: psutil.Process) -> int:
    """Memory once every accepted job is done: what waits is no leak."""
    about = ServerServiceStub(channel)
    metadata = (("authorization", f"Bearer {token}"),)
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline:
        info = await about.GetServerInfo(GetServerInfoRequest(), metadata=metadata)
        if not info.active_jobs:
            break
        await asyncio.sleep(0.2)
    return int(process.memory_info().rss)


def fuzz_wire(folder: Path, calls: int, seed: int) -> Report:
    """Calls a fresh server `calls` times."""
    data_dir = folder / "data"
    data_dir.mkdir(parents=True)
    gateway = Gateway(data_dir)
    try:
        return asyncio.run(_run(gateway, (data_dir / "token").read_text().strip(), calls, seed))
    finally:
        gateway.kill()
