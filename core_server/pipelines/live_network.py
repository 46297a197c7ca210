"""A live frame by tensors alone: samples, noise and words in, samples out. What a graph of a whole frame records.

Nothing that changes from frame to frame stands anywhere but in a tensor: canvas, noise, strength, prompt, guidance.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from core_server.canvas.geometry import Extent
from core_server.canvas.plan import SeamlessAxes
from core_server.pipelines.live_autoencoder import LiveAutoencoder
from core_server.pipelines.live_samples import samples_of, source_of
from core_server.pipelines.live_solver import LiveSolver

Words = dict[str, Any]
"""Arguments of the denoiser that follow from the prompt: tensors, and dicts of them."""


@dataclass(frozen=True, slots=True, eq=False)
class FrameNetwork:
    """What is constant for one graph. denoiser: as a UNet's forward; dtype: what it computes in.

    after_step: told of each step from 1; not by a graph. graphed: whether its parts may be graphs themselves.
    """

    denoiser: Callable[..., Any]
    dtype: torch.dtype
    solver: LiveSolver
    autoencoder: LiveAutoencoder
    axes: SeamlessAxes
    extent: Extent
    after_step: Callable[[int], None] | None = None
    graphed: bool = True

    def __call__(  # noqa: PLR0917
        self,
        canvas: torch.Tensor,
        clean: torch.Tensor | None,
        noises: tuple[torch.Tensor, ...],
        timesteps: torch.Tensor,
        levels: torch.Tensor,
        guidance: torch.Tensor | None,
        words: Words,
    ) -> torch.Tensor:
        """The picture of a plain canvas, and after its last sample 1 if all numbers are finite, else 0: one row.

        canvas: (height, width, 3 or 4) uint8, on the host too; the picture has its shape and its alpha. clean: its
        latents; None: made here, by a tiny autoencoder. The others: as in `painted`.
        """
        canvas = canvas.to(levels.device, non_blocking=True)
        if clean is None:
            canvas, clean = self.encoded(canvas)
        picture, finite = self.painted(clean, noises, timesteps, levels, guidance, words)
        samples = samples_of(picture)
        if canvas.shape[2] == 4:
            samples = torch.cat([samples, canvas[..., 3:]], dim=2)
        return torch.cat([samples.reshape(-1), finite.to(torch.uint8).reshape(1)])

    def encoded(self, canvas: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The canvas on the device, and its latents by a tiny autoencoder, which draws nothing."""
        canvas = canvas.to(self.autoencoder.device, non_blocking=True)
        source = source_of(canvas)
        return canvas, self.autoencoder.encode(source, 0, self.axes, graphed=self.graphed)

    def painted(  # noqa: PLR0917
        self,
        clean: torch.Tensor,
        noises: tuple[torch.Tensor, ...],
        timesteps: torch.Tensor,
        levels: torch.Tensor,
        guidance: torch.Tensor | None,
        words: Words,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """(height, width, 3) float32 sRGB 0..1, and whether all numbers are finite.

        clean: (1, channels, rows, columns) float32; noises: of its shape, as many as the solver asks for; timesteps,
        levels: as `LiveSolver.solve` takes them; guidance: its scale, a float32; None: no second pass.
        """
        batch = 1 if guidance is None else 2

        def predict(latents: torch.Tensor, timestep: torch.Tensor) -> torch.Tensor:
            doubled = torch.cat([latents] * batch).to(self.dtype)
            output: torch.Tensor = self.denoiser(
                doubled, timestep.expand(batch), return_dict=False, **words
            )[0]
            if guidance is None:
                return output.to(latents.dtype)
            without, along = output.to(latents.dtype).chunk(2)
            guided: torch.Tensor = without + guidance * (along - without)
            return guided

        latents = self.solver.solve(
            predict, clean, noises.__getitem__, timesteps, levels, after_step=self.after_step
        )
        return self.autoencoder.decode(latents, self.extent, self.axes, graphed=self.graphed)
