"""Puts a loaded model's parts where a rung of the memory ladder has them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch

from core_server.pipelines.memory import TILE_SIDE, Rung, Sizes, sizes_of
from core_server.pipelines.model import LoadedModel
from core_server.pipelines.offload import ExecutesOn, OffloadedNetwork, at_work


def measure(model: LoadedModel) -> Sizes:
    """Bytes of the model's parts, as they are now."""
    found = {name: _bytes(module) for name, module in _modules(model).items()}
    encoders = [at_work(it) for it in model.text_encoders.values()]
    return sizes_of(
        found,
        model.family.denoiser,
        model.family.text_encoders,
        at_work=(sum(encoders), at_work(model.denoiser)),
    )


def place(model: LoadedModel, rung: Rung, kept: int = 0) -> None:
    """Moves the model from where it was to `rung`. kept: bytes of the denoiser's layers that stay on the device where
    layers come and go. Errors: torch.OutOfMemoryError, after which it can be placed anew.
    """
    device, modules = model.device, _modules(model)
    model.placed.close()
    _tile(model, rung)
    model.rung, model.kept = rung, 0
    # Where device and program share one memory nothing is gained by leaving the device.
    shared = device.type in ("cpu", "mps")
    if rung is Rung.RESIDENT or (shared and rung <= Rung.VAE_TILED):
        _move(modules.values(), device)
        return
    encoders = [_offloaded(model, it) for it in model.text_encoders.values()]
    rest = [part for name, part in modules.items() if name not in model.text_encoders]
    denoiser = model.denoiser
    _before(model, denoiser, encoders)
    if rung <= Rung.VAE_TILED:
        _move(rest, device)
        return
    if rung is Rung.MODEL_OFFLOAD:
        whole = _offloaded(model, denoiser, layered=False)
        for encoder in model.text_encoders.values():
            _before(model, encoder, [whole])
        model.placed.callback(_BeforeAutoencoder(device, whole).on(model.vae).remove)
    else:
        model.kept = kept
        # Text encoders ask their weights for a type to compute in, so theirs stay as they are.
        narrow = torch.float8_e4m3fn if rung is Rung.QUANTISED else None
        if getattr(denoiser, "is_quantized", False):
            narrow = None
        _offloaded(model, denoiser, rest_stays=True, kept=kept, narrow=narrow)
    _move([it for it in rest if it is not denoiser], device)


def must_reload(was: Rung | None, rung: Rung) -> bool:
    """Whether a model has to be read again to get there: 8 bits do not become 16 again."""
    return was is Rung.QUANTISED and rung is not was


class _BeforeAutoencoder(ExecutesOn):
    """What diffusers' autoencoders call before they encode or decode, as they would a hook of accelerate's."""

    def __init__(self, device: torch.device, denoiser: OffloadedNetwork) -> None:
        super().__init__(device)
        self._denoiser = denoiser

    def pre_forward(self, _: Any) -> None:
        """The denoiser makes room."""
        self._denoiser.leave()


def _offloaded(model: LoadedModel, network: Any, **how: Any) -> OffloadedNetwork:
    found = OffloadedNetwork(network, model.device, **how)
    model.placed.callback(found.dissolve)
    return found


def _before(model: LoadedModel, network: Any, others: Iterable[OffloadedNetwork]) -> None:
    """Whenever `network` is called, the others leave first."""
    leave: list[Callable[[], None]] = [it.leave for it in others]

    def make_room(*_: Any) -> None:
        for one in leave:
            one()

    # The network's own hook would bring it before there is room.
    model.placed.callback(network.register_forward_pre_hook(make_room, prepend=True).remove)


def _tile(model: LoadedModel, rung: Rung) -> None:
    vae, was = model.vae, model.rung or Rung.RESIDENT
    if (was >= Rung.VAE_TILED) == (rung >= Rung.VAE_TILED):
        return
    tiled = rung >= Rung.VAE_TILED
    for name in ("tiling", "slicing"):
        switch = getattr(vae, f"{'enable' if tiled else 'disable'}_{name}", None)
        if switch is not None:
            switch()
    if not tiled:
        return
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


def bytes_on(model: LoadedModel) -> int:
    """Bytes of the model's weights that are on its device now."""
    tensors = (
        t for part in _modules(model).values() for t in (*part.parameters(), *part.buffers())
    )
    return sum(t.numel() * t.element_size() for t in tensors if t.device == model.device)


def _bytes(module: torch.nn.Module) -> int:
    tensors = (*module.parameters(), *module.buffers())
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)
