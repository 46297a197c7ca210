"""Where the time of a picture goes on the device, kernel by kernel, once all tiers are warm.

    python -m core_server.benchmarks.kernel_profile CASE DIR [--device cuda] [--small]

CASE: as the suite `images` has them; DIR: where its models are, or are made. Prints shares by kind and the kernels that
take longest. A model with a tiny autoencoder (sd-turbo) is profiled painting live.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from torch.profiler import ProfilerActivity, profile

from core_server.benchmarks.image_cases import CASES, PROMPT, QUICK_SIDE, QUICK_STEPS, SEED
from core_server.benchmarks.random_models import write
from core_server.canvas.geometry import Extent
from core_server.canvas.pixels import Pixels
from core_server.pipelines.live_frame import LiveFrame
from core_server.pipelines.local_runtime import LocalRuntime
from core_server.pipelines.request import Parameters, TextToImage
from core_server.pipelines.task import StepProgress

WARM, TOP = 8, 25
"""Pictures before the one that counts: a live one is a single step, and a graph comes after several calls."""
KINDS: Mapping[str, tuple[str, ...]] = {
    "attention": ("attention", "flash", "fmha", "cudnn_generated_fort_native_sdpa"),
    "convolution": ("conv", "fprop", "implicit_gemm", "winograd"),
    "matrix product": ("gemm", "matmul", "addmm", "cutlass", "cublas", "nvjet"),
    "normalisation": ("norm", "_sums", "_factors", "_applied", "_whole"),
    "copies and layouts": ("copy", "memcpy", "memset", "transpose", "nchwtonhwc", "nhwctonchw", "cat"),
}  # fmt: skip
"""Kind -> what a kernel's name has in it; the first that fits."""


def kind_of(name: str) -> str:
    """One of `KINDS`, or "other"."""
    lowered = name.lower()
    for kind, parts in KINDS.items():
        if any(part in lowered for part in parts):
            return kind
    return "other"


def main(argv: list[str] | None = None) -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("case", choices=tuple(CASES))
    parser.add_argument("folder", type=Path)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--small", action="store_true", help="to see that it works")
    options = parser.parse_args(argv)
    model = options.folder / "models" / options.case
    if not (model / "profile.json").exists():
        write(options.case, model, options.device, small=options.small)
    runtime = LocalRuntime(str(model), options.device, options.folder)
    paint = _painter(runtime, options.case, small=options.small)
    for _ in range(WARM):
        paint()
    start = time.perf_counter()
    paint()
    seconds = time.perf_counter() - start
    on_device = options.device.startswith("cuda")
    kinds = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if on_device else [])]
    with profile(activities=kinds) as found:
        paint()
    kernels: Counter[str] = Counter()
    for event in found.key_averages():
        kernels[event.key] += (
            event.self_device_time_total if on_device else event.self_cpu_time_total
        )
    _print(options.case, seconds, kernels)


def _painter(runtime: LocalRuntime, name: str, *, small: bool) -> Callable[[], object]:
    case = CASES[name]
    side, steps = (QUICK_SIDE, QUICK_STEPS) if small else (case.side, case.steps)
    parameters = Parameters(
        prompt=PROMPT, num_inference_steps=min(steps, 4) if name == "sd-turbo" else steps,
        guidance_scale=case.guidance_scale, seed=SEED,
    )  # fmt: skip
    if name != "sd-turbo":
        request = TextToImage(parameters=parameters, extent=Extent(side, side))
        return lambda: runtime.run(request, {}, _ignore)
    frame, random = LiveFrame(parameters=parameters, strength=0.5), np.random.default_rng(0)

    def paint() -> object:
        canvas = Pixels(random.integers(0, 256, (side, side, 3), dtype=np.uint8))
        return runtime.paint(frame, canvas, _ignore)

    return paint


def _print(case: str, seconds: float, kernels: Counter[str]) -> None:
    total = sum(kernels.values())
    say = print
    say(f"{case}: {seconds * 1000:.1f} ms a picture; kernels {total / 1000:.1f} ms")
    by_kind: Counter[str] = Counter()
    for name, time_us in kernels.items():
        by_kind[kind_of(name)] += time_us
    for name, time_us in (*by_kind.most_common(), ("", 0), *kernels.most_common(TOP)):
        say(f"{time_us / 1000:9.2f} ms {100 * time_us / max(total, 1):5.1f} %  {name[:100]}")


def _ignore(_progress: StepProgress) -> None:
    """Nobody watches."""


if __name__ == "__main__":
    main()
