"""The memory ladder: which rung is chosen, what happens when memory runs out, and that no rung changes the picture.

What needs a device of its own memory is skipped without one.
"""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from core_server.canvas.geometry import Extent
from core_server.canvas.plan import SeamlessAxes
from core_server.errors import OutOfMemory
from core_server.pipelines import devices
from core_server.pipelines.catalogue import Catalogue
from core_server.pipelines.keeper import MAX_LOADED_MODELS, ModelKeeper
from core_server.pipelines.loader import load_model
from core_server.pipelines.local_runtime import LocalRuntime
from core_server.pipelines.memory import (
    TILE_SIDE,
    Activations,
    Rung,
    Sizes,
    choose_rung,
    kept,
    next_rung,
    peak,
    rungs_of,
)
from core_server.pipelines.placement import place
from core_server.pipelines.request import Parameters, TextToImage
from core_server.pipelines.seamless_vae import seamless_vae
from core_server.pipelines.tiers.workshop import Workshop
from tests.core_server.pipelines.conftest import quiet
from tests.core_server.pipelines.tiny_families import save_tiny_family
from tests.core_server.pipelines.tiny_parts import kl_autoencoder

GIB = 1 << 30
CPU = torch.device("cpu")
MEGAPIXEL = Extent(1024, 1024)
# Weights in half precision, from the model cards' numbers of parameters.
SD15 = Sizes((int(0.25 * GIB),), int(1.7 * GIB), int(0.17 * GIB))
SDXL = Sizes((int(0.25 * GIB), int(1.4 * GIB)), int(5.1 * GIB), int(0.17 * GIB))
KLEIN = Sizes((int(7.5 * GIB),), int(7.8 * GIB), int(0.17 * GIB))


@pytest.mark.parametrize(
    ("sizes", "extent", "gib", "rung"),
    [
        (SD15, Extent(512, 512), 4, Rung.RESIDENT),
        (SD15, MEGAPIXEL, 4, Rung.VAE_TILED),
        (SDXL, MEGAPIXEL, 24, Rung.RESIDENT),
        (SDXL, MEGAPIXEL, 12, Rung.RESIDENT),
        (SDXL, MEGAPIXEL, 8.5, Rung.VAE_TILED),
        (SDXL, MEGAPIXEL, 7.5, Rung.VAE_TILED),
        (SDXL, MEGAPIXEL, 6, Rung.GROUP_OFFLOAD),
        (KLEIN, MEGAPIXEL, 24, Rung.RESIDENT),
        (KLEIN, MEGAPIXEL, 12, Rung.ENCODERS_OFF),
        (KLEIN, MEGAPIXEL, 11, Rung.VAE_TILED),
        (KLEIN, MEGAPIXEL, 8, Rung.GROUP_OFFLOAD),
        (KLEIN, MEGAPIXEL, 1, Rung.QUANTISED),
    ],
)
def test_the_first_rung_that_fits(sizes: Sizes, extent: Extent, gib: float, rung: Rung) -> None:
    found = choose_rung(rungs_of("cuda"), sizes, Activations(), extent, int(gib * GIB))
    assert found is rung


def test_of_two_rungs_without_loss_the_one_that_copies_less() -> None:
    """A small denoiser beside an encoder that needs much: as a whole once a picture, or in part at each step."""
    sizes = Sizes((8 * GIB,), 2 * GIB, GIB // 5, encoders_at_work=3 * GIB)
    found = [
        choose_rung(rungs_of("cuda"), sizes, Activations(), MEGAPIXEL, int(4.5 * GIB), steps=steps)
        for steps in (1, 30)
    ]
    assert found == [Rung.GROUP_OFFLOAD, Rung.MODEL_OFFLOAD]
    few, many = (
        kept(Rung.GROUP_OFFLOAD, SDXL, Activations(), MEGAPIXEL, int(gib * GIB)) for gib in (4, 6)
    )
    assert 0 < few < many < SDXL.denoiser
    assert kept(Rung.GROUP_OFFLOAD, SDXL, Activations(), MEGAPIXEL, 0) == 0


@pytest.mark.parametrize("sizes", [SD15, SDXL, KLEIN], ids=["sd15", "sdxl", "klein"])
def test_every_rung_needs_no_more_than_the_one_above(sizes: Sizes) -> None:
    for extent in (Extent(64, 64), Extent(512, 512), MEGAPIXEL, Extent(2048, 2048)):
        needed = [peak(rung, sizes, Activations(), extent) for rung in Rung]
        assert all(more >= less for more, less in itertools.pairwise(needed))


def test_the_ladder_ends() -> None:
    for kind, last in (("cuda", Rung.QUANTISED), ("mps", Rung.VAE_TILED), ("cpu", Rung.VAE_TILED)):
        rungs = rungs_of(kind)
        assert next_rung(rungs, last) is None
        assert all(next_rung(rungs, rung) is not None for rung in rungs[:-1])


def request(**changes: Any) -> TextToImage:
    parameters = Parameters(prompt="moss", num_inference_steps=2, seed=3, **changes)
    return TextToImage(parameters=parameters, extent=Extent(64, 64))


def test_out_of_memory_goes_on_one_rung_below(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The job is not lost, the artist is told, and the model stays where it fits."""
    runtime = LocalRuntime("tiny", "cpu", tmp_path)
    (before,) = runtime.run(request(), {}, quiet)
    model = runtime._model("tiny")
    decode = model.vae.decode

    def too_much(*args: Any, **kwargs: Any) -> Any:
        if not model.vae.use_tiling:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")
        return decode(*args, **kwargs)

    monkeypatch.setattr(model.vae, "decode", too_much)
    seen: list[Any] = []
    (after,) = runtime.run(request(), {}, seen.append)
    (stage,) = [it.stage for it in seen if "Out of memory" in it.stage]
    assert "decoded in tiles" in stage
    assert any("to save memory: decoded in tiles" in note for note in after.recipe["notes"])
    assert (before.recipe["memory"], after.recipe["memory"]) == ("resident", "vae_tiled")
    seen.clear()
    (again,) = runtime.run(request(), {}, seen.append)
    assert not [it for it in seen if "Out of memory" in it.stage]
    assert (again.pixels.array == after.pixels.array).all()

    monkeypatch.setattr(model.vae, "decode", lambda *_, **__: _raise())
    with pytest.raises(OutOfMemory, match="make the picture or the selection smaller"):
        runtime.run(request(), {}, quiet)


def _raise() -> None:
    raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes")


def test_models_used_last_stay(tmp_path: Path) -> None:
    names = ["tiny", "stable_diffusion", "z_image", "sana"]
    for name in names[1:]:
        save_tiny_family(name, tmp_path / "models" / name)
    catalogue = Catalogue("tiny", tmp_path)
    keeper = ModelKeeper(CPU)
    for name in names[:MAX_LOADED_MODELS]:
        keeper.get(catalogue.find(name))
    first = keeper.get(catalogue.find("tiny"))
    keeper.get(catalogue.find(names[-1]))
    assert list(keeper.loaded) == ["z_image", "tiny", "sana"]
    assert keeper.get(catalogue.find("tiny")) is first
    keeper.unload("z_image")
    assert "z_image" not in keeper.loaded
    keeper.unload_all()
    assert not keeper.loaded


def test_resting_gives_memory_back_and_changes_no_picture(tmp_path: Path) -> None:
    runtime = LocalRuntime("tiny", "cpu", tmp_path)
    (before,) = runtime.run(request(), {}, quiet)
    runtime.rest()
    assert not runtime._keeper.loaded
    (after,) = runtime.run(request(), {}, quiet)
    assert (before.pixels.array == after.pixels.array).all()
    assert before.recipe == after.recipe


@pytest.mark.parametrize("name", ["stable_diffusion_xl", "stable_diffusion_3", "flux_2_klein"])
@pytest.mark.parametrize("axes", [SeamlessAxes.X, SeamlessAxes.XY], ids=str)
def test_a_tiled_autoencoder_keeps_tiles_seamless(
    tmp_path: Path, name: str, axes: SeamlessAxes
) -> None:
    """What working in tiles costs is spread evenly: the border is no worse than the inside."""
    save_tiny_family(name, tmp_path / "models" / name)
    model = load_model(Catalogue(name, tmp_path).find(""), CPU)
    size = model.latents.grid_extent(Extent(384, 384))
    generator = torch.Generator().manual_seed(5)
    latents = model.latents.to_vae(
        torch.randn(1, model.latents.channels, *size, generator=generator)
    )
    with torch.no_grad():
        with seamless_vae(axes, model.vae, model.scale_factor):
            whole = model.vae.decode(latents).sample
        place(model, Rung.VAE_TILED)
        model.vae.tile_sample_min_size = 192
        model.vae.tile_latent_min_size = 192 // model.scale_factor
        plain = model.vae.decode(latents).sample
        with seamless_vae(axes, model.vae, model.scale_factor):
            tiled = model.vae.decode(latents).sample
            codes = model.vae.encode(tiled.clamp(-1, 1)).latent_dist.mode()
    assert tiled.shape == whole.shape == plain.shape
    assert codes.shape == latents.shape
    assert "decode" not in vars(model.vae), "nothing is left of it"
    for dim in (-1, -2) if axes is SeamlessAxes.XY else (-1,):
        assert _border_to_inside(tiled - whole, dim) < 1.3
        assert _border_to_inside(plain - whole, dim) > 1.4


def test_a_megapixel_is_decoded_in_tiles_whatever_its_autoencoder_was_trained_at(
    tmp_path: Path,
) -> None:
    """Stock tiling would do SDXL's 1024 px in one piece."""
    model = load_model(Catalogue("tiny", tmp_path).find(""), CPU)
    model.components["vae"] = vae = kl_autoencoder(sample_size=1024).eval()
    place(model, Rung.VAE_TILED)
    seen: list[int] = []
    vae.decoder.register_forward_pre_hook(lambda _, given: seen.extend(given[0].shape[-2:]))
    vae.encoder.register_forward_pre_hook(lambda _, given: seen.extend(given[0].shape[-2:]))
    with torch.no_grad():
        assert vae.decode(torch.zeros(1, 4, 128, 72)).sample.shape[-2:] == (1024, 576)
        assert max(seen) <= TILE_SIDE // 8
        vae.encode(torch.zeros(1, 3, 1024, 576))
    assert max(seen) <= TILE_SIDE


def _border_to_inside(error: torch.Tensor, dim: int) -> float:
    error = error.abs().mean(dim=(0, 1)).movedim(dim, 0)
    border = torch.cat([error[:4], error[-4:]])
    return float(border.mean() / error[8:-8].mean())


def test_what_a_step_really_took_corrects_the_estimate(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a small card the text encoders are away, and so no part of it."""
    keeper = ModelKeeper(CPU, lambda _: devices.Memory(1 << 40, 1 << 40), tuple(Rung))
    model = keeper.get(Catalogue("tiny", tmp_path).find(""))
    sizes, extent, before = keeper._sizes["tiny"], Extent(96, 64), model.activations
    for rung, away in (
        (Rung.RESIDENT, 0),
        (Rung.VAE_TILED, sum(sizes.text_encoders)),
        (Rung.GROUP_OFFLOAD, sum(sizes.text_encoders)),
    ):
        place(model, rung)
        for of_each_px in (before.decode / 2, before.denoise / 2):
            model.activations = before
            taken = sizes.all - away + int(of_each_px * extent.area)
            monkeypatch.setattr(devices, "peak_bytes", lambda _, taken=taken: taken)
            keeper.learn(model, extent)
            if rung is Rung.RESIDENT:
                assert model.activations == before.scaled(of_each_px / before.decode)
            elif rung is Rung.VAE_TILED:
                assert model.activations.denoise == pytest.approx(min(of_each_px, before.denoise))
                assert model.activations.decode == before.decode
            else:
                assert model.activations == before


DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
"""On a CPU nothing moves, but all hooks are in place."""


@pytest.mark.skipif(DEVICE == "cpu", reason="test_offload does it without a card")
@pytest.mark.parametrize("name", ["stable_diffusion_xl", "z_image"])
def test_moving_parts_changes_no_picture(tmp_path: Path, name: str) -> None:
    save_tiny_family(name, tmp_path / "models" / name)
    runtime = LocalRuntime(
        name, DEVICE, tmp_path, workshop=Workshop()
    )  # fast paths round otherwise
    pictures = []
    for rung in (Rung.RESIDENT, Rung.ENCODERS_OFF, Rung.MODEL_OFFLOAD, Rung.GROUP_OFFLOAD):
        model = runtime._model(name)
        place(model, rung)
        model.vae.disable_tiling()
        for _ in range(2):
            (output,) = runtime.run(request(), {}, quiet)
            assert output.recipe["memory"] == rung.name.lower()
            pictures.append(output.pixels.array)
    assert all((array == pictures[0]).all() for array in pictures)


def test_eight_bit_weights_paint_nearly_the_same(tmp_path: Path) -> None:
    name = "stable_diffusion_3"
    save_tiny_family(name, tmp_path / "models" / name)
    runtime = LocalRuntime(name, DEVICE, tmp_path)
    (whole,) = runtime.run(request(), {}, quiet)
    model = runtime._model(name)
    place(model, Rung.QUANTISED)
    model.vae.disable_tiling()
    (small,) = runtime.run(request(), {}, quiet)
    difference = np.abs(whole.pixels.array.astype(float) - small.pixels.array)
    assert 0 < difference.mean() < 0.1 * whole.pixels.array.std()
    assert "8 bits" in " ".join(small.recipe["notes"])


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_capped_device_recovers(tmp_path: Path) -> None:
    """The allocator really runs out; the job ends well on a lower rung."""
    name = "stable_diffusion_xl"
    save_tiny_family(name, tmp_path / "models" / name)
    device = torch.device("cuda:0")
    big = TextToImage(
        parameters=Parameters(prompt="moss", num_inference_steps=1), extent=Extent(1024, 1024)
    )
    peaks = []
    for rung in (Rung.RESIDENT, Rung.VAE_TILED):
        runtime = LocalRuntime(name, "cuda", tmp_path, workshop=Workshop())
        place(runtime._model(name), rung)
        runtime.run(big, {}, quiet)
        peaks.append(devices.peak_bytes(device))
        runtime.rest()
    assert peaks[1] < peaks[0]
    runtime = LocalRuntime(name, "cuda", tmp_path, workshop=Workshop())
    runtime.load("")
    devices.give_back(device)
    total = torch.cuda.mem_get_info(device)[1]
    torch.cuda.set_per_process_memory_fraction(sum(peaks) / 2 / total, device)
    try:
        (output,) = runtime.run(big, {}, quiet)
        assert output.recipe["memory"] != "resident"
        assert "to save memory" in " ".join(output.recipe["notes"])
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0, device)
        devices.give_back(device)
