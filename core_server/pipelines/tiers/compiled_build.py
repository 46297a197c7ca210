"""The process that compiles blocks: python -m core_server.pipelines.tiers.compiled_build

Reads one message from its standard input (`request`), writes a line of JSON for each order, and ends when it is done or
when its standard input does: with the worker, however that ends. It runs at low priority and has no model; of the
device it takes what one block needs.
"""

from __future__ import annotations

import contextlib
import json
import os
import pickle
import struct
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core_server.errors import on_one_line

if TYPE_CHECKING:
    from core_server.pipelines.tiers.compiled_orders import Order
    from core_server.pipelines.tiers.compiled_store import ProgramStore

_LENGTH = struct.Struct("<Q")
BUILDING = "building"
"""Below the store's folder: what the compiler writes on the way."""


def request(orders: Sequence[Order], folder: Path, device: str, attention: str) -> bytes:
    """What the process reads. attention: as in `attention_by`."""
    told = [(order.digest, order.payload) for order in orders]
    data = pickle.dumps((told, str(folder), device, attention))
    return _LENGTH.pack(len(data)) + data


def main() -> None:
    """The process."""
    given = sys.stdin.buffer
    (length,) = _LENGTH.unpack(given.read(_LENGTH.size))
    data = given.read(length)
    threading.Thread(target=_leave_with_parent, args=(given.fileno(),), daemon=True).start()
    _step_back()
    orders, folder, device, attention = pickle.loads(data)  # noqa: S301  of our own process
    building = Path(folder) / BUILDING
    building.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=building, ignore_cleanup_errors=True) as scratch:
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = scratch
        os.environ.pop("TRITON_CACHE_DIR", None)
        # The worker has the cores.
        os.environ["TORCHINDUCTOR_COMPILE_THREADS"] = "1"
        from core_server.pipelines import offline  # noqa: PLC0415

        offline.configure()
        _compile_all(orders, Path(folder), device, attention)


def _leave_with_parent(given: int) -> None:
    # Not by the file: Python could not end while a thread reads from that.
    while os.read(given, 1):
        pass
    os._exit(1)


def _step_back() -> None:
    import psutil  # noqa: PLC0415

    with contextlib.suppress(OSError, psutil.Error):
        low = getattr(psutil, "BELOW_NORMAL_PRIORITY_CLASS", 10)
        psutil.Process().nice(low)


def _compile_all(
    orders: list[tuple[str, bytes]], folder: Path, device: str, attention: str
) -> None:
    import torch  # noqa: PLC0415

    from core_server.pipelines.tiers.attention import attention_by  # noqa: PLC0415
    from core_server.pipelines.tiers.compiled_store import ProgramStore  # noqa: PLC0415

    torch.set_num_threads(1)
    store = ProgramStore(folder)
    for digest, payload in orders:
        began = time.monotonic()
        told: dict[str, Any] = {"digest": digest, "failure": ""}
        try:
            with torch.no_grad(), attention_by(attention):
                _compile(store, digest, payload, torch.device(device))
        except Exception as error:  # noqa: BLE001  compilers raise whatever they like
            store.drop(digest)
            told["failure"] = f"{type(error).__name__}: {on_one_line(error, 400)}"
        told["seconds"] = round(time.monotonic() - began, 1)
        sys.stdout.write(json.dumps(told) + "\n")
        sys.stdout.flush()


def _compile(store: ProgramStore, digest: str, payload: bytes, device: Any) -> None:
    from torch._inductor import config, standalone_compile  # noqa: PLC0415
    from torch._inductor.standalone_compile import CompiledArtifact  # noqa: PLC0415
    from torch._subclasses import FakeTensorMode  # noqa: PLC0415
    from torch.fx.experimental.symbolic_shapes import ShapeEnv  # noqa: PLC0415

    from core_server.pipelines.tiers.compiled_graph import traced  # noqa: PLC0415
    from core_server.pipelines.tiers.compiled_orders import read  # noqa: PLC0415

    with FakeTensorMode(shape_env=ShapeEnv()):
        block, given = read(payload, device)
        graph, inputs, results = traced(block, given)
    for node in graph.graph.nodes:  # where `from_graph` looks for the shapes' mode
        if "val" in node.meta:
            node.meta["example_value"] = node.meta["val"]
    code = store.code(digest)
    code.parent.mkdir(parents=True, exist_ok=True)
    # How a sum is divided is not to be measured: another start of the server would paint other last bits.
    fixed = {"deterministic": True} if hasattr(config, "deterministic") else {}
    try:
        with config.patch(fixed):
            artifact: Any = standalone_compile(graph, [*inputs], dynamic_shapes="from_graph")
        artifact.save(path=str(code), format="unpacked")
    except Exception as error:  # noqa: BLE001  with true tensors, then, for a moment
        sys.stderr.write(f"{type(error).__name__}: {error}\n")
        true = [_zeros(it) for it in inputs]
        artifact = standalone_compile(graph, true, dynamic_shapes="from_example_inputs")
        artifact.save(path=str(code), format="unpacked")
    # As the worker will: what is still compiled or measured at the first call is then there as well.
    os.environ["TORCHINDUCTOR_CACHE_DIR"], scratch = (
        str(code),
        os.environ["TORCHINDUCTOR_CACHE_DIR"],
    )
    try:
        program: Any = CompiledArtifact.load(path=str(code), format="unpacked")
        program(*map(_zeros, inputs))
    finally:
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = scratch
    store.finish(digest, results)


def _zeros(like: Any) -> Any:
    import torch  # noqa: PLC0415

    made = torch.empty_strided(like.shape, like.stride(), dtype=like.dtype, device=like.device)
    return made.zero_()


if __name__ == "__main__":
    main()
