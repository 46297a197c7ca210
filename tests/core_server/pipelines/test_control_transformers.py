"""ControlNets of transformers: equal to the stock pipelines bit for bit, and at work in every other task as well."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from core_server.canvas.geometry import Extent
from core_server.canvas.plan import SeamlessAxes
from core_server.errors import InvalidRequest, ModelLoadFailed
from core_server.pipelines.control_files import ControlShelf
from core_server.pipelines.control_single_file import read_control_file
from core_server.pipelines.denoise import as_tensor, denoise
from core_server.pipelines.families.registry import FAMILIES
from core_server.pipelines.masked_denoising import MaskedDenoising
from core_server.pipelines.memory import Rung
from core_server.pipelines.outfit import dressed
from core_server.pipelines.placement import place
from core_server.pipelines.progress import StepReporter
from core_server.pipelines.request import (
    ControlKind,
    Inpaint,
    TextToImage,
)
from core_server.pipelines.settings import settle
from tests.core_server.pipelines.conftest import quiet
from tests.core_server.pipelines.controlled import (
    CONTROLLED,
    DEPTH,
    INPAINT,
    LINE,
    MASK,
    POSE,
    SEED,
    SIDE,
    START,
    STEPS,
    asked,
    images_of,
    loaded,
    painted,
    shelve,
    stock,
    unit,
)
from tests.core_server.pipelines.test_families import Zoo
from tests.core_server.pipelines.tiny_controls import control_network


@pytest.fixture(scope="module")
def zoo(tmp_path_factory: pytest.TempPathFactory) -> Any:
    torch.set_num_threads(1)
    return Zoo(tmp_path_factory.mktemp("controlled"))


T2I, I2I, PAINT = "text_to_image", "image_to_image", "inpaint"
SINGLE = [
    ("flux", T2I, "FluxControlNetPipeline", {}),
    ("flux", T2I, "FluxControlNetPipeline", {"guidance_embeds": False}),
    ("flux", T2I, "FluxControlNetPipeline",
     {"conditioning_embedding_channels": 4, "patch_size": 2}),
    ("flux", I2I, "FluxControlNetImg2ImgPipeline", {}),
    ("flux", PAINT, "FluxControlNetInpaintPipeline", {}),
    ("stable_diffusion_3", T2I, "StableDiffusion3ControlNetPipeline", {}),
    ("stable_diffusion_3", T2I, "StableDiffusion3ControlNetPipeline",
     {"force_zeros_for_pooled_projection": False}),
    ("qwen_image", T2I, "QwenImageControlNetPipeline", {}),
    ("z_image", T2I, "ZImageControlNetPipeline", {}),
    ("z_image", T2I, "ZImageControlNetPipeline", {
        "control_in_dim": 9, "control_refiner_layers_places": [0],
        "add_control_noise_refiner": "control_noise_refiner"}),
    ("sana", T2I, "SanaControlNetPipeline", {}),
]  # fmt: skip


@pytest.mark.parametrize(("family", "task", "class_name", "changes"), SINGLE)
def test_one_network_is_stock_diffusers_bit_for_bit(
    zoo: Any, family: str, task: str, class_name: str, changes: dict[str, Any]
) -> None:
    runtime, pipeline = shelve(zoo, family, {"tiny-depth": changes})
    negative = "" if family == "flux" else " "
    wanted = asked((DEPTH, 0.7), negative_prompt=negative, scheduler="flow_euler")
    found = painted(zoo, runtime, task, wanted)
    [network] = loaded()
    expected = stock(
        class_name, pipeline, network, control_image=unit(0), controlnet_conditioning_scale=0.7
    )
    assert (found == expected).all()
    plain = painted(zoo, runtime, task, asked(negative_prompt=negative, scheduler="flow_euler"))
    assert (found != plain).any()


ITSELF = [
    (T2I, "FluxControlPipeline"),
    (I2I, "FluxControlImg2ImgPipeline"),
    (PAINT, "FluxControlInpaintPipeline"),
]


@pytest.mark.parametrize(("task", "class_name"), ITSELF)
def test_flux_depth_takes_the_picture_itself(zoo: Any, task: str, class_name: str) -> None:
    """As its stock pipelines do; never without one, never another kind, and a weight is noted."""
    runtime, pipeline = zoo("flux_control")
    found = painted(zoo, runtime, task, asked((DEPTH, 1.0), scheduler="flow_euler"))
    assert (found == stock(class_name, pipeline, None, control_image=unit(0))).all()
    with pytest.raises(InvalidRequest, match="paint from a control image: add one"):
        painted(zoo, runtime, task, asked())
    with pytest.raises(InvalidRequest, match="take one control image, of the kind depth or line"):
        painted(zoo, runtime, task, asked((POSE, 1.0)))
    wanted = asked((LINE, 0.4), seamless=SeamlessAxes.XY)
    request = TextToImage(parameters=wanted, extent=Extent(SIDE, SIDE))
    [output] = runtime.run(request, images_of(wanted), quiet)
    assert output.recipe["control_images"] == [{"kind": "line", "image": "c0", "weight": 0.4}]
    assert any("weight had no effect" in note for note in output.recipe["notes"])


@pytest.mark.parametrize(
    "family", ["flux", "flux_control", "qwen_image", "stable_diffusion_3", "z_image"]
)
def test_inside_and_outside_of_a_soft_mask_start_from_the_same_noise(zoo: Any, family: str) -> None:
    """What control draws from the picture's generator comes before the noise on both sides."""
    runtime, _ = zoo(family) if family == "flux_control" else shelve(zoo, family, {"a-depth": {}})
    model = runtime._model("")
    wanted = asked((DEPTH, 1.0))
    request = Inpaint(parameters=wanted, image="i", selection="i")
    start = START["i"].array.astype(np.float32) / 255
    seen: list[torch.Tensor] = []
    settings = settle(request, model.profile)
    with dressed(model, request, settings, images_of(wanted), zoo.root) as settings:
        keep = MaskedDenoising(
            model, settings, SEED, image=start, mask=MASK * 0.5, axes=SeamlessAxes.NONE
        )
        scheduler = type(keep._pipeline.scheduler)
        scale = scheduler.scale_noise

        def watched(self: Any, sample: Any, timestep: Any, noise: Any = None) -> Any:
            seen.append(noise)
            return scale(self, sample, timestep, noise)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(scheduler, "scale_noise", watched)
            common = {"axes": SeamlessAxes.NONE, "reporter": StepReporter(model, quiet, STEPS, 1)}
            denoise(I2I, model, settings, SEED, **common, image=as_tensor(start), strength=0.6)
    noise = keep._noise
    assert any(
        torch.equal(seen[0].flatten(), it.flatten())
        for it in (noise, model.latents.from_grid(noise))
    )


SEVERAL = [
    ("flux", "FluxControlNetPipeline", {"a-depth": {}, "b-canny": {}}, (DEPTH, LINE)),
    ("flux", "FluxControlNetPipeline", {"one": {"num_mode": 7}}, (DEPTH, POSE)),
    ("flux", "FluxControlNetPipeline", {"one": {"num_mode": 7}}, (LINE,)),
    ("stable_diffusion_3", "StableDiffusion3ControlNetPipeline",
     {"a-depth": {}, "b-canny": {}}, (DEPTH, LINE)),
    ("qwen_image", "QwenImageControlNetPipeline", {"my-union": {}}, (LINE, POSE)),
]  # fmt: skip


@pytest.mark.parametrize(("family", "class_name", "networks", "kinds"), SEVERAL)
def test_several_pictures_are_stock_diffusers_bit_for_bit(
    zoo: Any, family: str, class_name: str, networks: dict[str, Any], kinds: tuple[ControlKind, ...]
) -> None:
    """By a network each, by one that is told what each picture shows, by one that sees it by itself."""
    runtime, pipeline = shelve(zoo, family, networks)
    negative = "" if family == "flux" else " "
    weights = (0.7, 0.4)[: len(kinds)]
    wanted = asked(
        *zip(kinds, weights, strict=True), negative_prompt=negative, scheduler="flow_euler"
    )
    found = painted(zoo, runtime, T2I, wanted)
    of_it = {
        "qwen_image": diffusers.QwenImageMultiControlNetModel,
        "flux": diffusers.FluxMultiControlNetModel,
    }
    nets: Any = loaded()
    if len(nets) == 1:
        nets = of_it[family](nets)
    arguments: dict[str, Any] = {
        "control_image": [unit(k) for k in range(len(kinds))],
        "controlnet_conditioning_scale": list(weights),
    }
    if "one" in networks:
        arguments["control_mode"] = [{LINE: 0, DEPTH: 2, POSE: 4}[it] for it in kinds]
    if len(kinds) > 1 and len(loaded()) == 1:
        arguments |= {"control_guidance_start": [0.0] * 2, "control_guidance_end": [1.0] * 2}
    expected = stock(class_name, pipeline, nets, **arguments)
    assert (found == expected).all()


@pytest.mark.parametrize("family", CONTROLLED)
def test_control_acts_in_every_task_and_tiles(zoo: Any, family: str) -> None:
    """Another control picture, another result; tiles have control too; afterwards nothing is left of it."""
    runtime, _ = shelve(zoo, family, {"a-depth": {}})
    model = runtime._model("")
    plain = asked()
    before = {task: painted(zoo, runtime, task, plain) for task in (T2I, I2I, PAINT)}
    for task, without in before.items():
        strong, weak = (painted(zoo, runtime, task, asked((DEPTH, it))) for it in (1.0, 0.5))
        assert (strong != without).any() and (strong != weak).any()
        assert (painted(zoo, runtime, task, plain) == without).all()
    tiles = []
    for weight in (0.0, 1.0):
        wanted = asked((DEPTH, weight), seamless=SeamlessAxes.XY)
        request = TextToImage(parameters=wanted, extent=Extent(SIDE, SIDE))
        [output] = runtime.run(request, images_of(wanted), quiet)
        tiles.append(output)
    assert (tiles[0].pixels.array != tiles[1].pixels.array).any()
    assert tiles[1].recipe["control_images"][0]["network"] == "a-depth"
    assert "forward" not in vars(model.denoiser)


@pytest.mark.parametrize("family", CONTROLLED)
def test_what_is_rolled_for_a_tile_is_rolled_for_its_control(zoo: Any, family: str) -> None:
    """At each step another place of the picture is the border, and of the control picture the same."""
    runtime, _ = shelve(zoo, family, {"a-depth": {}})
    seen: list[Any] = []
    for axes in (SeamlessAxes.NONE, SeamlessAxes.XY):
        wanted = asked((DEPTH, 1.0), seamless=axes)
        request = TextToImage(parameters=wanted, extent=Extent(SIDE, SIDE))
        runtime.run(request, images_of(wanted), quiet)
        if axes is SeamlessAxes.NONE:
            [network] = loaded()
            hook = network.register_forward_pre_hook(
                lambda _, args, kwargs: seen.append(kwargs.get("controlnet_cond", args[-1:])),
                with_kwargs=True,
            )
    hook.remove()
    found = [it if isinstance(it, torch.Tensor) else it[0] for it in seen]
    values = [torch.sort(it[0].flatten()).values for it in found]
    assert all(torch.equal(values[0], it) for it in values[1:])
    assert not torch.equal(found[0], found[-1])


MASKED = [
    ("stable_diffusion_3", "StableDiffusion3ControlNetInpaintingPipeline",
     {"extra_conditioning_channels": 1}),
    ("qwen_image", "QwenImageControlNetInpaintPipeline", {"extra_condition_channels": 4}),
]  # fmt: skip


@pytest.mark.parametrize(("family", "class_name", "changes"), MASKED)
def test_networks_for_inpainting_see_the_mask_as_in_diffusers(
    zoo: Any, family: str, class_name: str, changes: dict[str, Any]
) -> None:
    """Their stock pipelines start from noise alone: so does text_to_image here, told what is hidden."""
    runtime, pipeline = shelve(zoo, family, {"any": changes})
    model = runtime._model("")
    wanted = asked((INPAINT, 0.7), negative_prompt=" ", scheduler="flow_euler")
    request = Inpaint(parameters=wanted, image="i", selection="i")
    settings = settle(request, model.profile)
    common = {"axes": SeamlessAxes.NONE, "reporter": StepReporter(model, quiet, STEPS, 1)}
    with dressed(model, request, settings, images_of(wanted), zoo.root) as settings:
        told = settings.hiding(MASK, unit(0)[0])
        found = denoise(T2I, model, told, SEED, **common, width=SIDE, height=SIDE)
    [network] = loaded()
    expected = stock(
        class_name, pipeline, network, control_image=unit(0), controlnet_conditioning_scale=0.7,
        control_mask=torch.from_numpy(MASK)[None, None],
    )  # fmt: skip
    assert (found == expected).all()
    assert (painted(zoo, runtime, PAINT, wanted) != painted(zoo, runtime, PAINT, asked())).any()
    with pytest.raises(InvalidRequest, match=r"reads a selection.*works in inpaint alone"):
        painted(zoo, runtime, T2I, wanted)


def test_z_images_network_sees_what_is_repainted(zoo: Any) -> None:
    """The newer ones have room for mask and picture beside the control, which diffusers fills in its inpainting."""
    changes = {
        "control_in_dim": 9, "control_refiner_layers_places": [0],
        "add_control_noise_refiner": "control_noise_refiner",
    }  # fmt: skip
    runtime, pipeline = shelve(zoo, "z_image", {"a-depth": changes})
    model = runtime._model("")
    wanted = asked((DEPTH, 0.7), negative_prompt=" ", scheduler="flow_euler")
    request = Inpaint(parameters=wanted, image="i", selection="i")
    settings = settle(request, model.profile)
    common = {"axes": SeamlessAxes.NONE, "reporter": StepReporter(model, quiet, STEPS, 1)}
    start = START["i"].array.astype(np.float32) / 255
    with dressed(model, request, settings, images_of(wanted), zoo.root) as settings:
        told = settings.hiding(MASK, start)
        found = denoise(T2I, model, told, SEED, **common, width=SIDE, height=SIDE)
    [network] = loaded()
    expected = stock(
        "ZImageControlNetInpaintPipeline", pipeline, network,
        control_image=unit(0), controlnet_conditioning_scale=0.7,
    )  # fmt: skip
    assert (found == expected).all()


NEWER = {"control_in_dim": 9, "control_refiner_layers_places": [0]}


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("union", {}),
        ("union-2.0", {**NEWER, "add_control_noise_refiner": "control_layers"}),
        ("union-2.1", {**NEWER, "add_control_noise_refiner": "control_noise_refiner"}),
    ],
)
def test_networks_of_z_image_come_as_one_file(
    zoo: Any, tmp_path: Path, name: str, changes: dict[str, Any]
) -> None:
    """As their authors publish them: the tensors tell the configuration, the name what they do not."""
    _, pipeline = shelve(zoo, "z_image", {})
    transformer = pipeline.transformer
    made = control_network("z_image", transformer, **changes)
    tensors = {key: it.contiguous() for key, it in made.state_dict().items()}
    if name == "union-2.0":  # which has a refiner that it does not use
        more = {**changes, "add_control_noise_refiner": "control_noise_refiner"}
        tensors = control_network("z_image", transformer, **more).state_dict() | tensors
    (tmp_path / "controls").mkdir()
    path = tmp_path / "controls" / f"{name}.safetensors"
    save_file(tensors, path)
    read = read_control_file(path, torch.float32, transformer.config)
    told = {key: value for key, value in made.config.items() if not key.startswith("_")}
    assert {key: _plain(read.config[key]) for key in told} == {
        k: _plain(v) for k, v in told.items()
    }
    found = read.state_dict()
    assert found.keys() == made.state_dict().keys()
    assert all(torch.equal(it, found[key]) for key, it in made.state_dict().items())
    [file] = ControlShelf(tmp_path).all()
    assert (file.network, file.width) == (FAMILIES["z_image"].control, transformer.config.dim)
    assert DEPTH in file.kinds
    with pytest.raises(ModelLoadFailed, match="of a kind that this version does not know"):
        read_control_file(path, torch.float32, {"n_layers": 3})


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple | list) else value


@pytest.mark.parametrize("rung", [Rung.ENCODERS_OFF, Rung.MODEL_OFFLOAD, Rung.GROUP_OFFLOAD])
@pytest.mark.parametrize("family", ["flux", "z_image"])
def test_control_works_on_every_rung(tmp_path: Path, family: str, rung: Rung) -> None:
    """Also where the network's parts are the transformer's own, which come and go."""
    zoo = Zoo(tmp_path)
    runtime, _ = shelve(zoo, family, {"a-depth": {}})
    wanted = asked((DEPTH, 1.0))
    request = TextToImage(parameters=wanted, extent=Extent(SIDE, SIDE))
    [resident] = runtime.run(request, images_of(wanted), quiet)
    place(runtime._keeper.loaded[family], rung)
    [offloaded] = runtime.run(request, images_of(wanted), quiet)
    assert offloaded.recipe["memory"] == rung.name.lower()
    assert np.array_equal(offloaded.pixels.array, resident.pixels.array)


def test_networks_of_another_model_are_not_taken(zoo: Any) -> None:
    """Families without a ControlNet say which have one; a network of another width is not one for this model."""
    runtime, _ = shelve(zoo, "flux", {"a-depth": {}})
    with pytest.raises(InvalidRequest, match=r"No ControlNet for depth.*Stable Diffusion 3"):
        painted(zoo, zoo("stable_diffusion_3")[0], T2I, asked((DEPTH, 1.0)))
    with pytest.raises(
        InvalidRequest, match=r"No ControlNet for pose.*models install flux-control"
    ):
        painted(zoo, runtime, T2I, asked((POSE, 1.0)))
    with pytest.raises(InvalidRequest, match=r"block cache does not go with control"):
        painted(zoo, runtime, T2I, asked((DEPTH, 1.0), block_cache=0.1))
    for family in ("flux_kontext", "flux_2_klein", "pixart_sigma"):
        with pytest.raises(
            InvalidRequest, match=r"do not work with .*they work in .*FLUX\.1.*Sana"
        ):
            painted(zoo, zoo(family)[0], T2I, asked((DEPTH, 1.0)))
