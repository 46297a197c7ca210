"""A whole live frame by one graph: the same bits, whatever changes in mid-stream, and never a stale one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from core_server.canvas.pixels import Pixels
from core_server.canvas.plan import SeamlessAxes
from core_server.config import Tiers
from core_server.errors import TaskCancelled, TaskFailed
from core_server.pipelines.live_frame import LiveFrame, LiveStarted
from core_server.pipelines.live_tiny import TorchConvolutions, fused
from core_server.pipelines.local_runtime import LocalRuntime
from core_server.pipelines.request import Adapter, AdapterKind, Parameters
from core_server.pipelines.task import StepProgress
from core_server.pipelines.tiers.operations import TorchOperations
from core_server.pipelines.tiers.workshop import Workshop
from tests.core_server.pipelines.test_adapters import diffusers_lora
from tests.core_server.pipelines.test_live import nothing, tiny_autoencoder
from tests.core_server.pipelines.tiers.recorder import Recorder
from tests.core_server.pipelines.tiny_families import save_tiny_family

SIDE = 64


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model with a tiny autoencoder, and a LoRA for it."""
    folder = tmp_path_factory.mktemp("live")
    pipeline = save_tiny_family("stable_diffusion", folder / "model")
    tiny_autoencoder(pipeline.vae.config.latent_channels).save_pretrained(
        folder / "model" / "tiny_vae"
    )
    (folder / "adapters").mkdir()
    save_file(diffusers_lora(pipeline, 0), folder / "adapters" / "first.safetensors")
    return folder


def runtime_in(folder: Path, workshop: Workshop | None) -> LocalRuntime:
    off = Tiers(kernels=False, graphs=False, processor=False)
    return LocalRuntime(str(folder / "model"), "cpu", folder, tiers=off, workshop=workshop)


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


@pytest.fixture
def graphed(folder: Path, recorder: Recorder) -> LocalRuntime:
    return runtime_in(folder, Workshop(backend=recorder))


@pytest.fixture(scope="module")
def plain(folder: Path) -> LocalRuntime:
    """Without any graph."""
    return runtime_in(folder, Workshop())


def canvas(seed: int, channels: int = 3, side: int = SIDE) -> Pixels:
    shape = (side, side, channels)
    return Pixels(np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8))


def begin(
    runtime: LocalRuntime, given: Pixels, strength: float = 0.6, **fields: Any
) -> LiveStarted:
    parameters = Parameters(**{"prompt": "moss", "seed": 3, "num_inference_steps": 1} | fields)
    return runtime.begin_paint(LiveFrame(parameters=parameters, strength=strength), given, nothing)


def paint(runtime: LocalRuntime, given: Pixels, strength: float = 0.6, **fields: Any) -> Any:
    return begin(runtime, given, strength, **fields).finish().pixels.array


def frames_of(runtime: LocalRuntime) -> Any:
    [way] = runtime._live._ways.values()
    return way.caches.model.tiers.frames


STROKE: dict[str, Any] = {}
LORA = (Adapter(kind=AdapterKind.LORA, name="first", weight=1.0),)
WEAKER = (Adapter(kind=AdapterKind.LORA, name="first", weight=0.3),)


def test_no_change_in_mid_stream_meets_a_stale_graph(
    plain: LocalRuntime, graphed: LocalRuntime
) -> None:
    """Each frame has another canvas and the same bits as without graphs."""
    changes: list[dict[str, Any]] = [
        STROKE, STROKE, {"prompt": "rust"}, {"prompt": "moss"}, {"strength": 0.2}, {"seed": 9},
        {"guidance_scale": 1.0}, {"guidance_scale": 1.0}, {"guidance_scale": 4.0}, {"guidance_scale": 5.0},
        {"num_inference_steps": 2}, {"num_inference_steps": 2, "strength": 0.9},
        {"num_inference_steps": 2, "scheduler": "lcm"}, {"num_inference_steps": 2, "scheduler": "lcm", "seed": 4},
        {"seamless": SeamlessAxes.XY}, {"seamless": SeamlessAxes.XY}, {"seamless": SeamlessAxes.X}, STROKE,
        {"negative_prompt": "red"}, {"adapters": LORA}, {"adapters": LORA}, {"adapters": WEAKER},
        STROKE, STROKE, {"channels": 4}, {"channels": 4}, {"side": 48}, {"side": 48}, {"side": 72}, STROKE, STROKE,
    ]  # fmt: skip
    for number, change in enumerate(changes):
        fields = dict(change)
        given = canvas(number, fields.pop("channels", 3), fields.pop("side", SIDE))
        expected, found = (paint(it, given, **fields) for it in (plain, graphed))
        assert np.array_equal(found, expected), (number, change)
        if given.channels == 4:
            assert np.array_equal(found[..., 3], given.array[..., 3])
    graphs = frames_of(graphed)
    assert graphs.replays > len(changes) / 3
    assert frames_of(plain) is None


def test_our_kernels_read_each_prompt_where_a_graph_has_it(folder: Path) -> None:
    """They work a prompt out once, into memory that graphs of frames and of the denoiser share."""
    operations, recorder = TorchOperations(), Recorder()
    plain = runtime_in(folder, Workshop(operations=operations))
    graphed = runtime_in(folder, Workshop(operations=operations, backend=recorder))
    changes: list[dict[str, Any]] = [
        STROKE, STROKE, {"prompt": "rust"}, STROKE, {"guidance_scale": 1.0}, {"prompt": "rust"},
        {"num_inference_steps": 2}, {"adapters": LORA}, STROKE, {"prompt": "rust"},
    ]  # fmt: skip
    for number, change in enumerate(changes):
        expected, found = (paint(it, canvas(number), **change) for it in (plain, graphed))
        assert np.array_equal(found, expected), (number, change)
    [way] = graphed._live._ways.values()
    assert way.caches.model.tiers._prompts.size > 0
    assert frames_of(graphed).replays >= 4


def test_the_first_frame_records_and_strokes_launch(
    graphed: LocalRuntime, recorder: Recorder
) -> None:
    paint(graphed, canvas(0))
    assert recorder.recorded == 2, "the encoding and all the rest, none for their parts"
    for seed in range(1, 5):
        assert begin(graphed, canvas(seed)).finish().ahead
    graphs = frames_of(graphed)
    assert (graphs.recordings, graphs.replays) == (1, 4)
    for change in ({"prompt": "rust"}, {"strength": 0.3}, {"seed": 5}, {"guidance_scale": 4.0}):
        assert begin(graphed, canvas(9), **change).finish().ahead
    assert (graphs.recordings, graphs.replays) == (1, 8), "all that may change is in its inputs"


def test_sessions_with_other_settings_take_turns(
    graphed: LocalRuntime, plain: LocalRuntime
) -> None:
    for seed in range(6):
        for prompt in ("moss", "rust"):
            found = paint(graphed, canvas(seed), prompt=prompt)
            assert np.array_equal(found, paint(plain, canvas(seed), prompt=prompt))
    assert (frames_of(graphed).recordings, frames_of(graphed).replays) == (1, 11)


def test_while_a_border_is_dragged_nothing_is_recorded(
    graphed: LocalRuntime, recorder: Recorder
) -> None:
    for side in (64, 72, 80, 88, 96):
        paint(graphed, canvas(0, side=side))
    assert recorder.recorded == 2
    paint(graphed, canvas(0, side=96))
    assert recorder.recorded == 4, "it came again"


def test_what_cannot_be_recorded_is_painted_as_ever(folder: Path, plain: LocalRuntime) -> None:
    runtime = runtime_in(folder, Workshop(backend=Recorder(RuntimeError("not this one"))))
    for seed in range(3):
        assert np.array_equal(paint(runtime, canvas(seed)), paint(plain, canvas(seed)))
    assert frames_of(runtime).recordings == 0


def test_a_graph_that_gives_other_numbers_is_not_used(folder: Path, plain: LocalRuntime) -> None:
    runtime = runtime_in(folder, Workshop(backend=Recorder(off=50)))
    for seed in range(3):
        assert np.array_equal(paint(runtime, canvas(seed)), paint(plain, canvas(seed)))


def test_a_model_without_a_tiny_autoencoder_has_one_for_all_but_the_encoding(
    tmp_path: Path, recorder: Recorder
) -> None:
    save_tiny_family("stable_diffusion", tmp_path / "model")
    plain, graphed = (runtime_in(tmp_path, it) for it in (Workshop(), Workshop(backend=recorder)))
    for seed, change in enumerate([STROKE, STROKE, {"prompt": "rust"}, {"strength": 0.3}, STROKE]):
        given = canvas(seed)
        assert np.array_equal(paint(graphed, given, **change), paint(plain, given, **change))
    assert (frames_of(graphed).recordings, frames_of(graphed).replays) == (1, 4)


def test_a_frame_that_is_begun_does_not_read_its_canvas_any_more(
    graphed: LocalRuntime, plain: LocalRuntime
) -> None:
    """The memory that the canvas came in serves the next one."""
    paint(graphed, canvas(0))
    first, second = canvas(1), canvas(2)
    expected = [paint(plain, it) for it in (first, second)]
    memory = first.array.copy()
    started = [begin(graphed, Pixels(memory))]
    memory[:] = second.array
    started.append(begin(graphed, Pixels(memory)))
    memory[:] = 0
    for it, wanted in zip(started, expected, strict=True):
        assert np.array_equal(it.finish().pixels.array, wanted)


def test_a_repeated_frame_can_be_cancelled(graphed: LocalRuntime) -> None:
    def stop(_step: StepProgress) -> None:
        raise TaskCancelled

    paint(graphed, canvas(0))
    frame = LiveFrame(
        parameters=Parameters(prompt="moss", seed=3, num_inference_steps=1), strength=0.6
    )
    with pytest.raises(TaskCancelled):
        graphed.begin_paint(frame, canvas(1), stop)
    paint(graphed, canvas(1))


def test_numbers_that_are_not_finite_are_told_of(graphed: LocalRuntime) -> None:
    paint(graphed, canvas(0))
    [way] = graphed._live._ways.values()
    weight = next(way.caches.autoencoder._tiny.decoder.parameters())
    before = weight.data.clone()
    weight.data.fill_(float("nan"))
    with pytest.raises(TaskFailed, match="not finite"):
        paint(graphed, canvas(1))
    weight.data.copy_(before)
    paint(graphed, canvas(2))


def test_what_is_forgotten_leaves_no_graph(graphed: LocalRuntime, plain: LocalRuntime) -> None:
    paint(graphed, canvas(0))
    graphs = frames_of(graphed)
    graphed.unload("")
    assert graphs.size == 0
    assert np.array_equal(paint(graphed, canvas(1)), paint(plain, canvas(1)))


@pytest.mark.parametrize("half", ["encoder", "decoder"])
def test_fused_convolutions_compute_the_same(half: str) -> None:
    network = getattr(tiny_autoencoder(4).eval(), half)
    fast = fused(network, TorchConvolutions())
    assert fast is not None
    given = torch.rand((1, 3 if half == "encoder" else 4, 16, 24))
    with torch.no_grad():
        torch.testing.assert_close(fast(given), network(given))


def test_what_is_built_otherwise_is_not_fused() -> None:
    network = tiny_autoencoder(4).decoder
    network.layers[1] = torch.nn.SiLU()
    assert fused(network, TorchConvolutions()) is None
    assert fused(torch.nn.Identity(), TorchConvolutions()) is None
