"""Live frames by the worker: exact strengths, nothing kept but caches, and every family."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import pytest
import torch

from core_server.canvas.geometry import Extent
from core_server.canvas.pixels import ColorSpace, Pixels
from core_server.canvas.plan import SeamlessAxes
from core_server.canvas.rendition import Rendition
from core_server.errors import InvalidRequest, ModelLoadFailed, TaskCancelled
from core_server.pipelines.live_autoencoder import TINY_NOTE
from core_server.pipelines.live_frame import LiveFrame, LivePicture
from core_server.pipelines.live_samples import is_plain, samples_of, source_from, source_of
from core_server.pipelines.live_solver import LiveSolver
from core_server.pipelines.request import Parameters
from core_server.pipelines.runtime import create_runtime
from core_server.pipelines.schedulers import make_scheduler
from core_server.pipelines.task import StepProgress
from tests.core_server.pipelines.conftest import picture
from tests.core_server.pipelines.tiny_families import save_tiny_family

EULER = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}


def nothing(step: StepProgress) -> None:
    """Tells nobody."""


def paint(
    runtime: Any, canvas: Pixels, strength: float = 0.6, extent: Extent | None = None, **fields: Any
) -> LivePicture:
    parameters = Parameters(**{"prompt": "moss", "seed": 3} | fields)
    frame = LiveFrame(parameters=parameters, strength=strength, extent=extent)
    painted: LivePicture = runtime.paint(frame, canvas, nothing)
    return painted


@pytest.mark.parametrize(
    ("steps", "strength", "timesteps"),
    [
        (1, 1.0, [999]),
        (1, 0.5, [499]),
        (2, 0.6, [599, 299]),
        (4, 0.4, [399, 299, 199, 99]),
        (4, 0.001, [0]),
    ],
)
def test_steps_start_at_the_strength_itself(
    steps: int, strength: float, timesteps: list[int]
) -> None:
    assert LiveSolver.of(EULER, "euler").timesteps(steps, strength) == timesteps


@pytest.mark.parametrize("kind", ["epsilon", "v_prediction", "sample"])
@pytest.mark.parametrize("scheduler", ["euler", "lcm"])
def test_who_predicts_the_truth_gets_the_picture(kind: str, scheduler: str) -> None:
    solver = LiveSolver.of(EULER | {"prediction_type": kind}, scheduler)
    generator = torch.Generator().manual_seed(0)
    clean, *noises = torch.randn(5, 1, 4, 8, 8, generator=generator)

    def know_it_all(latents: torch.Tensor, timestep: torch.Tensor) -> torch.Tensor:
        alpha = solver.alphas[int(timestep)]
        noise = (latents - alpha**0.5 * clean) / (1 - alpha) ** 0.5
        answers = {
            "epsilon": noise,
            "v_prediction": alpha**0.5 * noise - (1 - alpha) ** 0.5 * clean,
            "sample": clean,
        }
        return answers[kind]

    steps: list[int] = []
    timesteps = solver.timesteps(4, 0.8)
    found = solver.solve(
        know_it_all, clean, noises.__getitem__, torch.tensor(timesteps), solver.levels(timesteps),
        after_step=steps.append,
    )  # fmt: skip
    torch.testing.assert_close(found, clean, atol=1e-4, rtol=0)
    assert steps == [1, 2, 3, 4]


def test_noise_levels_are_those_of_the_stock_scheduler() -> None:
    solver = LiveSolver.of(EULER, "ddim")
    stock = make_scheduler("ddim", EULER)
    latents, noise = torch.randn(2, 1, 4, 8, 8, generator=torch.Generator().manual_seed(1))
    for timestep in (0, 250, 999):
        expected = stock.add_noise(latents, noise, torch.tensor([timestep]))
        [level] = solver.levels([timestep])
        torch.testing.assert_close(solver.noised(latents, noise, level), expected)


def test_the_same_frame_gives_the_same_bits_and_caches_work(runtime: Any) -> None:
    canvas = picture(64, 64)
    first = paint(runtime, canvas, seed=9)
    other = paint(runtime, picture(64, 64, dtype="uint8"), prompt="rust", seed=9)
    again = paint(runtime, canvas, seed=9)
    assert np.array_equal(first.pixels.array, again.pixels.array)
    assert not np.array_equal(first.pixels.array, other.pixels.array)
    [caches] = [way.caches for way in runtime._live._ways.values()]
    assert caches.words.hits >= 1
    assert caches.latents.hits >= 2, "a new prompt does not encode the canvas again"
    assert caches.noises.hits >= 2


def test_settings_matter(runtime: Any) -> None:
    canvas = picture(64, 64)
    pictures = [
        paint(runtime, canvas, **fields).pixels.array
        for fields in (
            {},
            {"seed": 4},
            {"strength": 0.2},
            {"num_inference_steps": 4},
            {"guidance_scale": 1.0},
            {"negative_prompt": "red"},
            {"scheduler": "lcm"},
            {"seamless": SeamlessAxes.XY},
        )
    ]
    assert len({it.tobytes() for it in pictures}) == len(pictures)


@pytest.mark.parametrize(
    ("channels", "dtype", "space"),
    [(4, "uint8", ColorSpace.SRGB), (1, "uint16", ColorSpace.SRGB), (3, "float32", ColorSpace.LINEAR_REC709)],
    ids=["alpha", "grey 16 bit", "linear"],
)  # fmt: skip
@pytest.mark.parametrize("extent", [None, Extent(72, 40)], ids=["own size", "another"])
def test_pictures_are_like_the_canvas(
    runtime: Any, channels: int, dtype: str, space: ColorSpace, extent: Extent | None
) -> None:
    canvas = picture(70, 50, channels, dtype, space)
    found = paint(runtime, canvas, extent=extent).pixels
    assert found.extent == (extent or canvas.extent)
    assert (found.channels, found.array.dtype.name, found.color_space) == (channels, dtype, space)
    if channels == 4 and extent is None:
        assert np.array_equal(found.array[..., 3], canvas.array[..., 3])


def test_it_tells_what_it_did(runtime: Any) -> None:
    told = paint(runtime, picture(60, 60), num_inference_steps=3).told
    assert (told.model, told.num_inference_steps, told.scheduler) == ("tiny", 3, "ddim")
    assert told.model_extent == (64, 64)
    assert told.seconds > 0


def test_a_frame_can_be_cancelled_between_steps(runtime: Any) -> None:
    def stop(step: StepProgress) -> None:
        if step.step:
            raise TaskCancelled

    frame = LiveFrame(parameters=Parameters(prompt="moss", num_inference_steps=4), strength=0.5)
    with pytest.raises(TaskCancelled):
        runtime.paint(frame, picture(64, 64), stop)
    paint(runtime, picture(64, 64))


def test_a_scheduler_that_is_not_there_is_refused(runtime: Any) -> None:
    with pytest.raises(InvalidRequest, match="scheduler"):
        paint(runtime, picture(64, 64), scheduler="nonsense")


@pytest.mark.parametrize("family", ["stable_diffusion_xl", "stable_diffusion_2", "flux", "z_image"])
def test_other_families_paint_too(family: str, tmp_path: Path) -> None:
    save_tiny_family(family, tmp_path / "model")
    runtime = create_runtime(str(tmp_path / "model"), "cpu", tmp_path)
    canvas = picture(64, 64)
    first = paint(runtime, canvas, num_inference_steps=2)
    assert first.told.model_extent.area > 0
    assert first.pixels.extent == canvas.extent
    again = paint(runtime, canvas, num_inference_steps=2)
    assert np.array_equal(first.pixels.array, again.pixels.array)
    other = paint(runtime, canvas, num_inference_steps=2, prompt="rust")
    assert not np.array_equal(first.pixels.array, other.pixels.array)


def tiny_autoencoder(channels: int) -> diffusers.AutoencoderTiny:
    torch.manual_seed(5)
    return diffusers.AutoencoderTiny(
        latent_channels=channels,
        encoder_block_out_channels=(8, 8, 8, 8),
        decoder_block_out_channels=(8, 8, 8, 8),
        num_encoder_blocks=(1, 1, 1, 1),
        num_decoder_blocks=(1, 1, 1, 1),
    )


def test_a_tiny_autoencoder_in_the_models_folder_is_used(tmp_path: Path) -> None:
    stock = save_tiny_family("stable_diffusion", tmp_path / "model")
    runtime = create_runtime(str(tmp_path / "model"), "cpu", tmp_path)
    canvas = picture(64, 64)
    whole = paint(runtime, canvas)
    assert TINY_NOTE not in whole.told.notes
    tiny = tiny_autoencoder(stock.vae.config.latent_channels)
    tiny.save_pretrained(tmp_path / "model" / "tiny_vae")
    runtime.unload("")
    first, again = paint(runtime, canvas), paint(runtime, canvas)
    assert TINY_NOTE in first.told.notes
    assert np.array_equal(first.pixels.array, again.pixels.array)
    assert not np.array_equal(first.pixels.array, whole.pixels.array)
    paint(runtime, canvas, seamless=SeamlessAxes.XY)


def test_a_tiny_autoencoder_of_another_family_is_refused(tmp_path: Path) -> None:
    save_tiny_family("stable_diffusion", tmp_path / "model")
    tiny_autoencoder(16).save_pretrained(tmp_path / "model" / "tiny_vae")
    runtime = create_runtime(str(tmp_path / "model"), "cpu", tmp_path)
    with pytest.raises(ModelLoadFailed, match="another family's: it has 16 channels"):
        paint(runtime, picture(64, 64))


@pytest.mark.parametrize("channels", [3, 4])
def test_plain_canvases_become_the_same_numbers_as_any_other(channels: int) -> None:
    canvas = picture(24, 16, channels, "uint8")
    rendition = Rendition.of(canvas)
    assert is_plain(canvas, canvas.extent)
    source = source_of(torch.from_numpy(canvas.array))
    assert torch.equal(source, source_from(rendition.rgb, torch.device("cpu")))
    painted = np.random.default_rng(0).random(rendition.rgb.shape, np.float32)
    painted[:8] = rendition.rgb[:8]
    ours = samples_of(torch.from_numpy(painted)).numpy()
    assert np.array_equal(ours, rendition.restore(painted).array[..., :3])
    assert np.array_equal(ours[:8], canvas.array[:8, :, :3])


@pytest.mark.parametrize(
    ("canvas", "painted"),
    [
        (picture(24, 16, 3, "uint16"), Extent(24, 16)),
        (picture(24, 16, 1, "uint8"), Extent(24, 16)),
        (picture(24, 16, 3, "uint8", ColorSpace.LINEAR_REC709), Extent(24, 16)),
        (picture(20, 16, 3, "uint8"), Extent(24, 16)),
    ],
    ids=["16 bit", "grey", "linear", "another size"],
)
def test_what_is_not_plain(canvas: Pixels, painted: Extent) -> None:
    assert not is_plain(canvas, painted)
