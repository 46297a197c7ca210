"""Puts a loaded model's parts where a rung of the memory ladder has them."""

from __future__ import annotations

from typing import Any

import torch
from accelerate import cpu_offload_with_hook
from accelerate.hooks import remove_hook_from_module
from diffusers.hooks import apply_group_offloading, apply_layerwise_casting

from core_server.pipelines.memory import TILE_SIDE, Rung, Sizes, sizes_of
from core_server.pipelines.model import LoadedModel

_KEPT_WHOLE = ("embed", "shared", "norm", "^proj_in$", "^proj_out$", "lm_head")
"""Layers that 8 bits would hurt most and that weigh least."""


def measure(model: LoadedModel) -> Sizes:
    """Bytes of the model's parts, as they are now."""
    found = {name: _bytes(module) for name, module in _modules(model).items()}
    return sizes_of(found, model.family.denoiser, model.family.text_encoders)


def place(model: LoadedModel, rung: Rung) -> None:
    """Moves the model from where it was, at most as low as this, to `rung`. Errors: torch.OutOfMemoryError."""
    was, device = model.rung, model.device
    modules = _modules(model)
    if was is not None and was >= Rung.ENCODERS_OFF:
        for module in modules.values():
            remove_hook_from_module(module)
    if rung >= Rung.VAE_TILED:
        _tile(model)
    model.rung = rung
    if rung in (Rung.RESIDENT,) or (device.type == "cpu" and rung <= Rung.VAE_TILED):
        _move(modules.values(), device)
        return
    encoders = list(model.text_encoders.values())
    rest = [m for n, m in modules.items() if n not in model.text_encoders]
    if rung <= Rung.VAE_TILED:
        _move(encoders, torch.device("cpu"))
        _move(rest, device)
        _chain([*encoders, model.denoiser], device)
        _move([model.denoiser], device)
        return
    _move(modules.values(), torch.device("cpu"))
    if rung is Rung.MODEL_OFFLOAD:
        others = [m for m in rest if m is not model.denoiser and m is not model.vae]
        _chain([*encoders, *others, model.denoiser, model.vae], device)
        return
    for module in (*encoders, model.denoiser):
        # Text encoders ask their weights for a type to compute in, so theirs stay as they are.
        if rung is Rung.QUANTISED and module is model.denoiser:
            apply_layerwise_casting(
                module,
                storage_dtype=torch.float8_e4m3fn,
                compute_dtype=model.dtype,
                skip_modules_pattern=_KEPT_WHOLE,
            )
        apply_group_offloading(
            module,
            onload_device=device,
            offload_device=torch.device("cpu"),
            offload_type="leaf_level",
            use_stream=device.type == "cuda",
        )
    _move([m for m in rest if m is not model.denoiser], device)


def must_reload(was: Rung | None, rung: Rung) -> bool:
    """Whether a model has to be read again to get there: what hooks of single layers did cannot be undone."""
    return was is not None and was >= Rung.GROUP_OFFLOAD and rung is not was


def _chain(modules: list[Any], device: torch.device) -> None:
    """Each module comes to the device when it is called, and the one before it leaves."""
    hook = None
    for module in modules:
        _, hook = cpu_offload_with_hook(module, device, prev_module_hook=hook)


def _tile(model: LoadedModel) -> None:
    vae = model.vae
    for name in ("enable_tiling", "enable_slicing"):
        if hasattr(vae, name):
            getattr(vae, name)()
    # Some take the size they were trained at for a tile, 1024 px for SDXL's, which would spare a megapixel nothing.
    if hasattr(vae, "tile_sample_min_size"):
        vae.tile_sample_min_size = TILE_SIDE
        vae.tile_latent_min_size = TILE_SIDE // model.scale_factor


def _modules(model: LoadedModel) -> dict[str, Any]:
    return {
        name: part for name, part in model.components.items() if isinstance(part, torch.nn.Module)
    }


def _move(modules: Any, device: torch.device) -> None:
    for module in modules:
        module.to(device)


def _bytes(module: torch.nn.Module) -> int:
    tensors = (*module.parameters(), *module.buffers())
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)
