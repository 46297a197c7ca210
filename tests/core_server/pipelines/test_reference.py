"""Reference images: equal to stock IP-Adapters bit for bit, gone after the job, refused with the way out."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from core_server.canvas.geometry import Extent
from core_server.canvas.pixels import Pixels
from core_server.errors import InvalidRequest, ModelLoadFailed
from core_server.pipelines.families import registry
from core_server.pipelines.local_runtime import LocalRuntime
from core_server.pipelines.memory import Rung
from core_server.pipelines.placement import place
from core_server.pipelines.reference_files import ReferenceShelf
from core_server.pipelines.request import (
    ImageToImage,
    Inpaint,
    Parameters,
    ReferenceImage,
    TextToImage,
)
from tests.core_server.pipelines.conftest import picture, quiet
from tests.core_server.pipelines.tiny_families import make_tiny_family, save_tiny_family
from tests.core_server.pipelines.tiny_references import image_encoder, save_ip_adapter

SIDE, STEPS = 64, 2
FAMILIES = ("stable_diffusion", "stable_diffusion_xl", "stable_diffusion_inpaint")
LOOKS = {"a": picture(50, 70), "b": Pixels(255 - picture(90, 40).array)}
TWO = (("a", 0.9), ("b", 0.3))


def data_folder(folder: Path, families: tuple[str, ...], kind: str) -> LocalRuntime:
    for name in families:
        pipeline = save_tiny_family(name, folder / "models" / name)
        if name != "stable_diffusion_inpaint":  # which uses the one of Stable Diffusion
            save_ip_adapter(folder / "references" / name, pipeline.unet, kind)
    return LocalRuntime(families[0], "cpu", folder)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("data")


@pytest.fixture(scope="module")
def runtime(folder: Path) -> LocalRuntime:
    return data_folder(folder, FAMILIES, "plain")


def parameters(model: str, *looks: tuple[str, float], **more: Any) -> Parameters:
    images = tuple(ReferenceImage(image=name, weight=weight) for name, weight in looks)
    return Parameters(
        prompt="moss",
        model=model,
        num_inference_steps=STEPS,
        seed=3,
        reference_images=images,
        **{"guidance_scale": 5.0, **more},
    )


def stock(
    name: str, class_name: str, adapter: Path, *looks: tuple[str, float], **arguments: Any
) -> Any:
    import diffusers  # noqa: PLC0415

    pipeline = getattr(diffusers, class_name).from_pipe(make_tiny_family(name))
    pipeline.set_progress_bar_config(disable=True)
    pipeline.load_ip_adapter(
        str(adapter.parent), subfolder=[""] * len(looks), weight_name=[adapter.name] * len(looks)
    )
    pipeline.set_ip_adapter_scale([weight for _, weight in looks])
    [image] = pipeline(
        "moss",
        **{
            "num_inference_steps": STEPS,
            "guidance_scale": 5.0,
            "generator": torch.Generator("cpu").manual_seed(3),
            "output_type": "np",
            "ip_adapter_image": [Image.fromarray(LOOKS[it].array) for it, _ in looks],
            **arguments,
        },
    ).images
    return (image * 255).round().astype(np.uint8)


def as_batch(pixels: Pixels) -> np.ndarray:
    """As diffusers takes pictures. It lays a tensor out otherwise in memory, which convolutions round otherwise."""
    return pixels.array[None].astype(np.float32) / 255


@pytest.mark.parametrize("guidance", [5.0, 1.0], ids=["guided", "unguided"])
@pytest.mark.parametrize("name", FAMILIES[:2])
def test_text_to_image_with_two_looks(
    runtime: LocalRuntime, folder: Path, name: str, guidance: float
) -> None:
    """Each picture acts with its own weight; the next job has nothing of them."""
    plain = TextToImage(parameters=parameters(name), extent=Extent(SIDE, SIDE))
    [before] = runtime.run(plain, {}, quiet)
    wanted = parameters(name, *TWO, guidance_scale=guidance)
    [output] = runtime.run(TextToImage(parameters=wanted, extent=plain.extent), LOOKS, quiet)
    class_name = type(make_tiny_family(name)).__name__
    adapter = folder / "references" / name / "adapter.safetensors"
    expected = stock(
        name, class_name, adapter, *TWO, guidance_scale=guidance, width=SIDE, height=SIDE
    )
    assert np.array_equal(output.pixels.array, expected)
    assert output.recipe["reference_images"] == [{"image": k, "weight": w} for k, w in TWO]
    assert output.recipe["reference_adapter"]["name"] == name
    weights = (adapter, adapter.parent / "image_encoder" / "model.safetensors")
    hashes = [hashlib.sha256(it.read_bytes()).hexdigest() for it in weights]
    told = output.recipe["reference_adapter"]
    assert [told["sha256"], told["encoder_sha256"]] == hashes
    [after] = runtime.run(plain, {}, quiet)
    assert np.array_equal(after.pixels.array, before.pixels.array)
    assert "reference_images" not in after.recipe


def test_image_to_image(runtime: LocalRuntime, folder: Path) -> None:
    name = "stable_diffusion_xl"
    images = {"i": picture(SIDE, SIDE), **LOOKS}
    request = ImageToImage(parameters=parameters(name, ("b", 0.7)), image="i", strength=1.0)
    [output] = runtime.run(request, images, quiet)
    adapter = folder / "references" / name / "adapter.safetensors"
    expected = stock(
        name,
        "StableDiffusionXLImg2ImgPipeline",
        adapter,
        ("b", 0.7),
        image=as_batch(images["i"]),
        strength=1.0,
    )
    assert np.array_equal(output.pixels.array, expected)


@pytest.mark.parametrize("name", FAMILIES)
def test_inpaint_follows_the_look(runtime: LocalRuntime, name: str) -> None:
    """Ordinary and inpainting checkpoints alike; what is not selected stays."""
    selection = np.zeros((SIDE, SIDE, 1), np.uint8)
    selection[16:48, 16:48] = 255
    images = {"i": picture(SIDE, SIDE), "s": Pixels(selection), **LOOKS}
    results = []
    for looks in ((), (("a", 1.0),), (("b", 1.0),)):
        request = Inpaint(parameters=parameters(name, *looks), image="i", selection="s")
        [output] = runtime.run(request, images, quiet)
        kept = output.composite_mask.array[..., 0] == 0
        assert np.array_equal(output.pixels.array[kept], images["i"].array[kept])
        results.append(output.pixels.array)
    assert not np.array_equal(results[0], results[1])
    assert not np.array_equal(results[1], results[2])


@pytest.mark.parametrize("kind", ["plus", "full"])
def test_adapters_that_read_the_encoders_layers(tmp_path: Path, kind: str) -> None:
    name = "stable_diffusion"
    runtime = data_folder(tmp_path, (name,), kind)
    request = TextToImage(parameters=parameters(name, *TWO), extent=Extent(SIDE, SIDE))
    [output] = runtime.run(request, LOOKS, quiet)
    adapter = tmp_path / "references" / name / "adapter.safetensors"
    expected = stock(name, "StableDiffusionPipeline", adapter, *TWO, width=SIDE, height=SIDE)
    assert np.array_equal(output.pixels.array, expected)


def test_pictures_are_encoded_once_and_weights_are_shared(runtime: LocalRuntime) -> None:
    """Another weight, another seed, another order: neither file nor encoder is read again."""
    request = TextToImage(
        parameters=parameters("stable_diffusion", *TWO), extent=Extent(SIDE, SIDE)
    )
    runtime.run(request, LOOKS, quiet)
    model = runtime._keeper.loaded["stable_diffusion"]
    kit = model.reference_kit
    assert kit is not None
    kit._encoder = None
    other = parameters("stable_diffusion", ("b", 0.1), ("a", 0.2), ("a", 0.8))
    [output] = runtime.run(TextToImage(parameters=other, extent=request.extent), LOOKS, quiet)
    assert model.reference_kit is kit and kit._encoder is None
    assert len(output.recipe["reference_images"]) == 3
    with kit.worn(model.denoiser, [0.5] * 3, model):
        worn = next(it for it in model.denoiser.attn_processors.values() if hasattr(it, "scale"))
        assert len({id(it) for it in worn.to_k_ip}) == 1 and worn.scale == [0.5] * 3
    assert not any(hasattr(it, "scale") for it in model.denoiser.attn_processors.values())


@pytest.mark.parametrize("rung", [Rung.ENCODERS_OFF, Rung.MODEL_OFFLOAD, Rung.GROUP_OFFLOAD])
def test_they_work_on_every_rung(tmp_path: Path, rung: Rung) -> None:
    """Also where the denoiser's own layers come and go."""
    runtime = data_folder(tmp_path, ("stable_diffusion",), "plain")
    request = TextToImage(parameters=parameters("", *TWO), extent=Extent(SIDE, SIDE))
    [resident] = runtime.run(request, LOOKS, quiet)
    place(runtime._keeper.loaded["stable_diffusion"], rung)
    [offloaded] = runtime.run(request, LOOKS, quiet)
    assert offloaded.recipe["memory"] == rung.name.lower()
    assert np.array_equal(offloaded.pixels.array, resident.pixels.array)


def test_what_is_missing_is_said(tmp_path: Path) -> None:
    """No adapter, an adapter of another width, one without its encoder, a family that has none, a broken encoder."""
    pipeline = save_tiny_family("stable_diffusion", tmp_path / "models" / "sd")
    save_tiny_family("z_image", tmp_path / "models" / "z")
    wide = save_tiny_family("stable_diffusion_xl", tmp_path / "models" / "xl").unet
    runtime = LocalRuntime("sd", "cpu", tmp_path)

    def refused(model: str, sentence: str, error: type[Exception] = InvalidRequest) -> None:
        request = TextToImage(parameters=parameters(model, ("a", 1.0)), extent=Extent(SIDE, SIDE))
        with pytest.raises(error, match=sentence):
            runtime.run(request, LOOKS, quiet)

    refused("z", r"do not work with Z-Image.*Choose such a model")
    refused("sd", r"Published IP-Adapters do not fit this model.*models install sd15`")
    with pytest.raises(
        InvalidRequest, match=r"No IP-Adapter is inst.*models install sd15-reference"
    ):
        ReferenceShelf(tmp_path).choose(768, registry.FAMILIES["stable_diffusion"])
    references = tmp_path / "references"
    references.mkdir()
    (references / "cut.safetensors").write_bytes(b"")
    with pytest.raises(InvalidRequest, match=r"already cannot be used: cut.safetensors is empty"):
        ReferenceShelf(tmp_path).choose(768, registry.FAMILIES["stable_diffusion"])
    save_ip_adapter(references / "xl", wide, encoder=False)
    refused("sd", "Published IP-Adapters do not fit this model")
    save_ip_adapter(references / "sd", pipeline.unet, encoder=False)
    refused("sd", "'sd' has no image encoder that fits it")
    image_encoder().save_pretrained(references / "clip")  # a folder of its own, for both
    request = TextToImage(parameters=parameters("", ("a", 1.0)), extent=Extent(SIDE, SIDE))
    runtime.run(request, LOOKS, quiet)
    (references / "clip" / "model.safetensors").write_bytes(b"\x80\x02}q" + bytes(64))
    runtime.unload("")
    refused("sd", "is a pickle", ModelLoadFailed)
