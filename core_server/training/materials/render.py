"""Light and shadow: a surface to pictures and material maps."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from core_server.training.materials.colors import linear_to_srgb
from core_server.training.materials.family import Draw, Surface
from core_server.training.materials.fields import Tensor, mix, rgb

_BUMP_PX = 5.0  # height 1.0 stands this many pixels of a 256 px tile above 0


@dataclass
class Rendered:
    """What one batch of materials looks like and is made of; row 0 at the top, all in [0, 1].

    `image` (B, 3, S, S) lit sRGB; `albedo` (B, 3, S, S) sRGB without light; `normal` (B, 3, S, S)
    tangent space, OpenGL (+Y up), encoded n * 0.5 + 0.5; `height`, `roughness`, `metal`,
    `occlusion` (B, 1, S, S), non-colour.
    """

    image: Tensor
    albedo: Tensor
    normal: Tensor
    height: Tensor
    roughness: Tensor
    metal: Tensor
    occlusion: Tensor


def normals(height: Tensor, unit: int) -> Tensor:
    """Unit normals (B, 3, S, S) of a wrapping height map, x right, y down, z out of the picture."""
    gain = _BUMP_PX * height.shape[-1] / (256 * unit) / 2
    nx = (height.roll(1, 2) - height.roll(-1, 2)) * gain
    ny = (height.roll(1, 1) - height.roll(-1, 1)) * gain
    return torch.nn.functional.normalize(torch.stack([nx, ny, torch.ones_like(nx)], 1), dim=1)


def occlusion(d: Draw, height: Tensor) -> Tensor:
    """Ambient light that reaches a point: darker where it lies below its surroundings."""
    near = (d.blur(height, 3.0) - height).clamp(0)
    far = (d.blur(height, 9.0) - height).clamp(0)
    return (1 - 0.7 * near - 0.6 * far).clamp(0.25, 1)


def render(d: Draw, surface: Surface, bump: Tensor, flat: Tensor) -> Rendered:
    """Shade with a soft light from the upper left (GGX highlight, Walter et al. 2007).

    `bump` (B, 1, 1) scales the relief; `flat` (B, 1, 1) in {0, 1} switches directional light off.
    """
    height = surface.height * bump
    n = normals(height, d.unit)
    ao = occlusion(d, height)
    angle = torch.deg2rad(d.uniform(215, 235))
    light = torch.stack([torch.cos(angle) * 0.55, torch.sin(angle) * 0.55, 0 * angle + 0.8], 1)
    light = torch.nn.functional.normalize(light, dim=1)
    half = light + light.new_tensor([0.0, 0.0, 1.0]).view(1, 3, 1, 1)
    half = torch.nn.functional.normalize(half, dim=1)
    n_dot_l = (n * light).sum(1).clamp(0)
    n_dot_h = (n * half).sum(1).clamp(0)
    alpha = (surface.roughness**2).clamp(min=0.03)
    lobe = alpha / (torch.pi * ((n_dot_h**2 * (alpha**2 - 1) + 1) ** 2))
    diffuse = surface.albedo * rgb((1 - 0.5 * surface.metal) * (n_dot_l * 0.85 + 0.3) * ao)
    mirror = mix(torch.full_like(surface.albedo, 0.04), surface.albedo, rgb(surface.metal))
    shine = rgb((lobe.clamp(max=5) * 0.2 * n_dot_l + 0.25 * (1 - surface.roughness)) * ao)
    lit = mix(diffuse + mirror * shine, surface.albedo * rgb(0.75 + 0.25 * ao), flat[:, None])
    relief = 0.5 + 0.45 * (height - height.mean((1, 2), True))
    up = n * n.new_tensor([1.0, -1.0, 1.0]).view(1, 3, 1, 1)
    return Rendered(
        linear_to_srgb(lit.clamp(0, 1)),
        linear_to_srgb(surface.albedo.clamp(0, 1)),
        up * 0.5 + 0.5,
        relief.clamp(0, 1)[:, None],
        surface.roughness[:, None],
        surface.metal[:, None],
        ao[:, None],
    )


STYLES = ("stylized", "cartoon", "pixel art")
STYLE_WORDS: dict[str, tuple[str, ...]] = {
    "stylized": ("stylized", "hand-painted", "painterly"),
    "cartoon": ("cartoon", "cel shaded", "comic"),
    "pixel art": ("pixel art", "retro pixel", "8-bit"),
}


def apply_style(d: Draw, image: Tensor, height: Tensor, styles: list[str]) -> Tensor:
    """Restyle the lit sRGB pictures (B, 3, S, S) whose entry in `styles` is not empty."""
    out = image
    for style in STYLES:
        hits = [1.0 if name == style else 0.0 for name in styles]
        if not any(hits):
            continue
        on = torch.tensor(hits, device=image.device).view(-1, 1, 1, 1)
        out = mix(out, _STYLE_FUNCTIONS[style](d, image, height), on)
    return out.clamp(0, 1)


def _stylized(d: Draw, image: Tensor, height: Tensor) -> Tensor:
    soft = d.blur(image, 1.6)
    broad = d.blur(image, 6.0)
    grey = soft.mean(1, True)
    return (grey + (soft - grey) * 1.25 + 0.7 * (soft - broad)).clamp(0, 1)


def _cartoon(d: Draw, image: Tensor, height: Tensor) -> Tensor:
    soft = d.blur(image, 1.4)
    value = soft.amax(1, True).clamp(min=1e-3)
    steps = ((value * 5).floor() + 0.5) / 5
    flat = soft / value * steps
    h = d.blur(height[:, 0], 1.2)
    slope = ((h.roll(1, 2) - h.roll(-1, 2)) ** 2 + (h.roll(1, 1) - h.roll(-1, 1)) ** 2).sqrt()
    line = (slope * d.size / d.unit / 256 * 9 - 0.5).clamp(0, 1)
    return flat * (1 - 0.85 * rgb(line))


def _pixel_art(d: Draw, image: Tensor, height: Tensor) -> Tensor:
    factor = 4 * d.unit
    if d.size % factor:
        return image
    small = torch.nn.functional.avg_pool2d(image, factor)
    levels = ((small * 12).round() / 12).clamp(0, 1)
    return levels.repeat_interleave(factor, 2).repeat_interleave(factor, 3)


_STYLE_FUNCTIONS = {"stylized": _stylized, "cartoon": _cartoon, "pixel art": _pixel_art}
