"""The memory ladder: which rung a model is placed on, from its measured sizes and what the device has free.

Each rung needs less memory than the one above and costs more time or exactness. Sizes of weights are measured when the
model is loaded; what a picture needs beside them starts as an estimate and is corrected by what pictures really took.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum

from core_server.canvas.geometry import Extent


class Rung(IntEnum):
    """Ways to place a model, from the fastest to the smallest."""

    RESIDENT = 0
    ENCODERS_OFF = 1
    VAE_TILED = 2
    MODEL_OFFLOAD = 3
    GROUP_OFFLOAD = 4
    QUANTISED = 5

    @property
    def told(self) -> str:
        """What it does and what that costs, for the recipe and for people."""
        return {
            Rung.RESIDENT: "the whole model stays on the device",
            Rung.ENCODERS_OFF: "text encoders are on the device only for a new prompt; costs a moment for each",
            Rung.VAE_TILED: "decoded in tiles; costs some time and can change colours by a shade between tiles",
            Rung.MODEL_OFFLOAD: "only the part at work is on the device; costs a moment for each picture, not quality",
            Rung.GROUP_OFFLOAD: "denoiser layers that find no room come and go; takes longer, same quality",
            Rung.QUANTISED: "the denoiser kept in 8 bits, layers come and go; slow, and the picture differs slightly",
        }[self]


@dataclass(frozen=True, slots=True)
class Sizes:
    """Bytes of a model's parts at the precision they are used in.

    encoders_at_work, denoiser_at_work: what they take while their layers come and go (`offload.at_work`); 0: estimated.
    """

    text_encoders: tuple[int, ...]
    denoiser: int
    vae: int
    other: int = 0
    encoders_at_work: int = 0
    denoiser_at_work: int = 0

    @property
    def all(self) -> int:
        """Everything at once."""
        return sum(self.text_encoders) + self.denoiser + self.vae + self.other


@dataclass(frozen=True, slots=True)
class Activations:
    """Bytes that painting takes beside the weights, for each px. Defaults: SDXL in half precision, rounded up."""

    denoise: float = 1500.0
    decode: float = 3000.0

    def scaled(self, factor: float) -> Activations:
        """For another precision, or as measured."""
        return Activations(self.denoise * factor, self.decode * factor)


TILE_SIDE = 512
"""Px a side that a tiled autoencoder works on at a time."""
HEADROOM = 0.92
"""Share of the free memory that is planned for; the rest is fragmentation and other programs' whims."""
_AT_WORK = 0.08
"""Share of a network that is on the device while its layers come and go."""
_IN_8_BITS = 0.7
"""Share of that which is left when it is kept in 8 bits: a layer is widened while it works."""


def rungs_of(device_type: str) -> tuple[Rung, ...]:
    """The rungs that help on a kind of device: where CPU and device share one memory, nothing is gained by moving."""
    if device_type in ("cuda", "xpu"):
        return tuple(Rung)
    return (Rung.RESIDENT, Rung.VAE_TILED)


def peak(rung: Rung, sizes: Sizes, activations: Activations, extent: Extent) -> int:
    """Most bytes on the device while a picture of that size is painted."""
    area = extent.area
    paint = activations.denoise * area
    tile = min(area, TILE_SIDE**2) if rung >= Rung.VAE_TILED else area
    decode = activations.decode * tile
    if rung is Rung.RESIDENT:
        return int(sizes.all + max(paint, decode))
    encode = sizes.encoders_at_work or _AT_WORK * sum(sizes.text_encoders)
    always, denoiser = sizes.other + sizes.vae, float(sizes.denoiser)
    if rung <= Rung.VAE_TILED:
        return int(always + denoiser + max(paint, decode, encode))
    if rung >= Rung.GROUP_OFFLOAD:
        denoiser = sizes.denoiser_at_work or _AT_WORK * denoiser
        denoiser *= _IN_8_BITS if rung is Rung.QUANTISED else 1
        # What lies between its layers stays all the time.
        return int(always + denoiser + max(paint, decode, encode))
    return int(always + max(denoiser + paint, decode, encode))


def kept(rung: Rung, sizes: Sizes, activations: Activations, extent: Extent, free: int) -> int:
    """Bytes of a denoiser's layers that may stay on the device where the others come and go."""
    if rung < Rung.GROUP_OFFLOAD:
        return 0
    room = int(HEADROOM * free) - peak(rung, sizes, activations, extent)
    return min(max(room, 0), sizes.denoiser)


def choose_rung(
    rungs: tuple[Rung, ...],
    sizes: Sizes,
    activations: Activations,
    extent: Extent,
    free: int,
    *,
    steps: int = 30,
) -> Rung:
    """The first rung that fits, or the last; of two that cost no quality the one that copies less for a picture.

    free: bytes that the device has without this model. steps: of a picture.
    """
    for rung in rungs:
        if peak(rung, sizes, activations, extent) > HEADROOM * free:
            continue
        if rung is Rung.MODEL_OFFLOAD and Rung.GROUP_OFFLOAD in rungs:
            staying = kept(Rung.GROUP_OFFLOAD, sizes, activations, extent, free)
            if steps * (sizes.denoiser - staying) < sizes.denoiser:
                return Rung.GROUP_OFFLOAD
        return rung
    return rungs[-1]


def next_rung(rungs: tuple[Rung, ...], rung: Rung) -> Rung | None:
    """The next smaller one; None at the end of the ladder."""
    return next((other for other in rungs if other > rung), None)


def sizes_of(
    bytes_of: Mapping[str, int],
    denoiser: str,
    text_encoders: tuple[str, ...],
    at_work: tuple[int, int] = (0, 0),
) -> Sizes:
    """From the bytes of each component by name. at_work: of all text encoders, and of the denoiser."""
    known = {*text_encoders, denoiser, "vae"}
    return Sizes(
        text_encoders=tuple(bytes_of[name] for name in text_encoders if name in bytes_of),
        denoiser=bytes_of.get(denoiser, 0),
        vae=bytes_of.get("vae", 0),
        other=sum(size for name, size in bytes_of.items() if name not in known),
        encoders_at_work=at_work[0],
        denoiser_at_work=at_work[1],
    )
