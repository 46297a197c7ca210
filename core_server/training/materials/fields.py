"""Periodic fields: the drawing tools every material family is made of.

All maps are (batch, size, size) float32, row 0 at the top, periodic in both axes by construction:
noise is shaped in the Fourier domain, lattices have whole counts, cell ids wrap around. Counts and
frequencies are per 256 px; a larger canvas holds more of the pattern at the same pixel scale.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch

Tensor = torch.Tensor
_TABLE_SIZE = 4096
_MAX_CELLS = 64  # cells per axis that a random table can hold apart


def smooth(low: float | Tensor, high: float | Tensor, x: Tensor) -> Tensor:
    """Hermite step from 0 at `low` to 1 at `high`."""
    t = ((x - low) / (high - low)).clamp(0, 1)
    return t * t * (3 - 2 * t)


def mix(a: Tensor, b: Tensor | float, t: Tensor | float) -> Tensor:
    """Linear blend: a where t is 0, b where t is 1."""
    return a + (b - a) * t


def rgb(gray: Tensor) -> Tensor:
    """(B, S, S) factor as (B, 1, S, S), to multiply an albedo."""
    return gray[:, None]


@dataclass(frozen=True)
class Lattice:
    """A rectangular lattice: `u`, `v` in [0, 1) inside the cell, `id` one number per cell."""

    u: Tensor
    v: Tensor
    id: Tensor
    row: Tensor
    col: Tensor

    def edge(self, aspect: Tensor | float = 1.0) -> Tensor:
        """Distance to the nearest cell side in units of the cell's height (aspect = width/height)."""
        return torch.minimum(
            torch.minimum(self.u, 1 - self.u) * aspect, torch.minimum(self.v, 1 - self.v)
        )


@dataclass(frozen=True)
class Cells:
    """Periodic Worley cells: `f1` distance to the point, `edge` distance to the border, `id`."""

    f1: Tensor
    edge: Tensor
    id: Tensor
    dx: Tensor
    dy: Tensor


@dataclass(frozen=True)
class Piece:
    """One scattered thing as every pixel sees it: `x`, `y` from its centre, in cells of the grid's
    height, turned by its own angle; `random` holds numbers in [0, 1) of its own.
    """

    x: Tensor
    y: Tensor
    random: tuple[Tensor, ...]


class Fields:
    """Random periodic fields for one batch on one device, drawn from one seeded generator."""

    def __init__(self, batch: int, size: int, device: torch.device | str, seed: int) -> None:
        self.batch, self.size, self.device = batch, size, torch.device(device)
        self.unit = max(1, size // 256)
        self.generator = torch.Generator(self.device).manual_seed(seed)
        k = torch.fft.fftfreq(size, device=self.device) * (size / self.unit)
        self._kx, self._ky = k[None, None, :], k[None, :, None]
        ramp = torch.arange(size, device=self.device, dtype=torch.float32) / size
        self.x = ramp[None, None, :].expand(batch, size, size)
        self.y = ramp[None, :, None].expand(batch, size, size)

    def uniform(self, low: float = 0.0, high: float = 1.0) -> Tensor:
        """One random number per sample: (B, 1, 1)."""
        draw = torch.rand(self.batch, 1, 1, device=self.device, generator=self.generator)
        return draw * (high - low) + low

    def choice(self, *values: float) -> Tensor:
        """One of `values` per sample: (B, 1, 1)."""
        table = torch.tensor(values, device=self.device)
        index = torch.randint(
            len(values), (self.batch,), device=self.device, generator=self.generator
        )
        return table[index].view(-1, 1, 1)

    def zeros(self) -> Tensor:
        """(B, S, S) of zeros."""
        return torch.zeros(self.batch, self.size, self.size, device=self.device)

    def noise2(  # noqa: PLR0917
        self,
        beta: float = 2.0,
        low: float = 1,
        high: float = 90,
        stretch_x: float = 1.0,
        stretch_y: float = 1.0,
        line: tuple[Tensor, Tensor] | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Two independent noises with power spectrum k^-beta between `low` and `high` cycles.

        `stretch_x` > 1 draws the grain out along x. `line` = (angle in rad, length in tiles)
        smears it into strokes. Mean 0, standard deviation 1.
        """
        shape = (self.batch, self.size, self.size)
        spectrum = torch.randn(
            shape, dtype=torch.complex64, device=self.device, generator=self.generator
        )
        k = torch.sqrt((self._kx * stretch_x) ** 2 + (self._ky * stretch_y) ** 2)
        band = ((k >= low) & (k <= high)).float() * torch.exp(-((k / high) ** 4))
        gain = k.clamp(min=1) ** (-beta / 2) * band
        if line is not None:
            along = self._kx * torch.cos(line[0]) + self._ky * torch.sin(line[0])
            gain = gain * torch.exp(-((along * line[1]) ** 2) * 1.5)
        field = torch.fft.ifft2(spectrum * gain)
        a, b = field.real, field.imag
        a = a / a.std((1, 2), keepdim=True).clamp(min=1e-12)
        return a, b / b.std((1, 2), keepdim=True).clamp(min=1e-12)

    def noise(
        self,
        beta: float = 2.0,
        low: float = 1,
        high: float = 90,
        stretch_x: float = 1.0,
        stretch_y: float = 1.0,
    ) -> Tensor:
        """One noise of `noise2`."""
        return self.noise2(beta, low, high, stretch_x, stretch_y)[0]

    def strokes(self, angle: Tensor, length: Tensor, low: float = 4, high: float = 90) -> Tensor:
        """Noise smeared along `angle` (rad) over `length` tiles: blades, fibres, scratches."""
        return self.noise2(0.4, low, high, line=(angle, length))[0]

    def warp(self, field: Tensor, dx: Tensor | float, dy: Tensor | float) -> Tensor:
        """`field` sampled at (x + dx, y + dy), offsets in tiles, bilinear and wrapping."""
        size = self.size
        u, v = ((self.x + dx) % 1) * size, ((self.y + dy) % 1) * size
        x0, y0 = u.floor(), v.floor()
        fx, fy = u - x0, v - y0
        x0, y0 = x0.long() % size, y0.long() % size
        x1, y1 = (x0 + 1) % size, (y0 + 1) % size
        flat = field.reshape(self.batch, -1)

        def at(ix: Tensor, iy: Tensor) -> Tensor:
            return flat.gather(1, (iy * size + ix).view(self.batch, -1)).view_as(u)

        return mix(mix(at(x0, y0), at(x1, y0), fx), mix(at(x0, y1), at(x1, y1), fx), fy)

    def blur(self, field: Tensor, sigma_px: float) -> Tensor:
        """Gaussian blur, sigma in pixels of a 256 px tile, wrapping. (B, S, S) or (B, C, S, S)."""
        n = self.size
        kx = torch.fft.rfftfreq(n, device=self.device) * (n / self.unit)
        ky = torch.fft.fftfreq(n, device=self.device) * (n / self.unit)
        falloff = torch.exp(
            -2 * (torch.pi * sigma_px / 256) ** 2 * (kx[None, :] ** 2 + ky[:, None] ** 2)
        )
        blurred: Tensor = torch.fft.irfft2(torch.fft.rfft2(field) * falloff, s=(n, n))
        return blurred

    def per_cell(self, ids: Tensor) -> Tensor:
        """A random number in [0, 1) for every cell id, the same wherever the id appears."""
        table = torch.rand(self.batch, _TABLE_SIZE, device=self.device, generator=self.generator)
        return table.gather(1, (ids % _TABLE_SIZE).reshape(self.batch, -1)).view(ids.shape)

    def lattice(
        self,
        columns: Tensor,
        rows: Tensor,
        shift: Tensor | float = 0.0,
        dx: Tensor | float = 0.0,
        dy: Tensor | float = 0.0,
    ) -> Lattice:
        """Rectangles; row r is moved by r * `shift` cells (0.5 = running bond), x + dx, y + dy."""
        columns, rows = columns * self.unit, rows * self.unit
        v = ((self.y + dy) % 1) * rows
        row = v.floor()
        u = ((self.x + dx) % 1) * columns + shift * row
        col = u.floor()
        cell = (row % rows).long() * _MAX_CELLS + (col % columns).long()
        return Lattice(u - col, v - row, cell, row, col)

    def cells(  # noqa: PLR0917
        self,
        nx: Tensor,
        ny: Tensor | None = None,
        jitter: float | Tensor = 0.9,
        dx: Tensor | float = 0.0,
        dy: Tensor | float = 0.0,
        hexagonal: bool = False,
    ) -> Cells:
        """Worley cells on an nx * ny grid with `jitter` in [0, 1]; `hexagonal` offsets odd rows."""
        nx = nx * self.unit
        ny = nx if ny is None else ny * self.unit
        table = torch.rand(2, self.batch, _TABLE_SIZE, device=self.device, generator=self.generator)
        px, py = (
            (table[0] - 0.5) * jitter_of(jitter) + 0.5,
            (table[1] - 0.5) * jitter_of(jitter) + 0.5,
        )
        u, v = ((self.x + dx) % 1) * nx, ((self.y + dy) % 1) * ny
        iu, iv = u.floor(), v.floor()
        aspect = nx / ny
        near = torch.full_like(u, 9.0)
        second = near.clone()
        ax, ay, bx, by = (torch.zeros_like(u) for _ in range(4))
        ids = torch.zeros_like(u, dtype=torch.long)
        for oy in (-1, 0, 1):
            for ox in (-1, 0, 1):
                cx, cy = (iu + ox) % nx, (iv + oy) % ny
                cell = (cy * _MAX_CELLS + cx).long() % _TABLE_SIZE
                flat = cell.view(self.batch, -1)
                odd = (cy % 2) * 0.5 - 0.25 if hexagonal else 0.0
                ex = iu + ox + px.gather(1, flat).view_as(u) + odd - u
                ey = (iv + oy + py.gather(1, flat).view_as(u) - v) * aspect
                d = ex * ex + ey * ey
                first, runner = d < near, d < second
                bx = torch.where(first, ax, torch.where(runner, ex, bx))
                by = torch.where(first, ay, torch.where(runner, ey, by))
                second = torch.where(first, near, torch.where(runner, d, second))
                ax, ay = torch.where(first, ex, ax), torch.where(first, ey, ay)
                ids = torch.where(first, cell, ids)
                near = torch.where(first, d, near)
        gap = torch.sqrt((bx - ax) ** 2 + (by - ay) ** 2).clamp(min=1e-3)
        return Cells(near.sqrt(), (second - near) / (2 * gap), ids, ax, ay)

    def scatter(  # noqa: PLR0917
        self,
        nx: float,
        ny: float | None = None,
        angle: float = 0.0,
        spread: float = 3.1416,
        numbers: int = 3,
        jitter: float = 1.0,
    ) -> Iterator[Piece]:
        """One thing in each cell of an nx * ny grid, from the back to the front.

        Each may reach one cell from its centre and lies over those before it, the same way in every
        pixel. It is turned to `angle` +- `spread` (rad) at random.
        """
        across = nx * self.unit
        down = across if ny is None else ny * self.unit
        table = torch.rand(
            3 + numbers, self.batch, _TABLE_SIZE, device=self.device, generator=self.generator
        )
        u, v = self.x * across, self.y * down
        iu, iv = u.floor(), v.floor()
        aspect = down / across
        for oy in (-1, 0, 1):
            for ox in (-1, 0, 1):
                cx, cy = (iu + ox) % across, (iv + oy) % down
                cell = (cy * _MAX_CELLS + cx).long() % _TABLE_SIZE
                own = table.gather(2, cell.view(1, self.batch, -1).expand(len(table), -1, -1))
                own = own.view(len(table), *u.shape)
                dx = (u - iu - ox - 0.5 - (own[0] - 0.5) * jitter) * aspect
                dy = v - iv - oy - 0.5 - (own[1] - 0.5) * jitter
                turn = angle + spread * (2 * own[2] - 1)
                c, s = torch.cos(turn), torch.sin(turn)
                yield Piece(dx * c + dy * s, dy * c - dx * s, tuple(own[3:]))


def jitter_of(jitter: float | Tensor) -> float | Tensor:
    """A per-sample jitter (B, 1, 1) as (B, 1), ready for a table of cells."""
    return jitter.view(-1, 1) if isinstance(jitter, torch.Tensor) else jitter
