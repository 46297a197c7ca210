"""Training of the UNet and the text encoder on cached latents, and sampling from their average."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers import DPMSolverMultistepScheduler, UNet2DConditionModel
from transformers import CLIPTextModel

from core_server.training.default_model.graphs import GraphedStep
from core_server.training.default_model.networks import (
    LATENT_CHANNELS,
    LATENT_SCALE,
    TEXT_WIDTH,
    TOKENS,
    TRAIN_TIMESTEPS,
    Padding,
    alpha_bars,
    make_text_encoder,
    make_unet,
    scheduler_config,
    use_padding,
)
from core_server.training.default_model.pool import Latents
from core_server.training.default_model.team import Team
from core_server.training.default_model.training_step import Predict, TrainingStep
from core_server.training.default_model.vocabulary import FastTokenizer

Tensor = torch.Tensor


@dataclass(frozen=True)
class DiffusionSettings:
    """How one command trains; times in seconds, shares in [0, 1]."""

    seconds: float
    batch: int = 256
    peak_lr: float = 6e-4
    final_lr_share: float = 1.0  # of peak_lr, reached linearly over the last `decay_share`
    decay_share: float = 0.3
    warmup_steps: int = 300
    photo_share: float = 0.1
    caption_drop: float = 0.1
    zero_padding_share: float = 0.3
    ema_decay: float = 0.9995
    large_every: int = 0  # every so many steps a quarter of the batch at twice the size


class Diffusion:
    """UNet and text encoder, their running average, and the optimiser."""

    def __init__(self, tokenizer: FastTokenizer, device: str, team: Team | None = None) -> None:
        self.device, self.tokenizer, self.team = device, tokenizer, team or Team()
        unet = make_unet().to(device).to(memory_format=torch.channels_last)
        self.unet: UNet2DConditionModel = unet
        self.text: CLIPTextModel = make_text_encoder(
            tokenizer.size, tokenizer.bos, tokenizer.eos
        ).to(device)
        self.padding = Padding("masked")
        self.samples, self.steps = 0, 0
        self.guidance_scale = 2.5  # 1 once guidance is folded into the UNet
        self._compiled: Predict | None = None
        self._wrap()

    def _wrap(self) -> None:
        self.unet_ema = copy.deepcopy(self.unet).requires_grad_(False)
        self.text_ema = copy.deepcopy(self.text).requires_grad_(False)
        use_padding(self.unet, self.padding)
        self.sampling_padding = use_padding(self.unet_ema, Padding("wrapped"))
        self.parameters = [
            p for p in (*self.unet.parameters(), *self.text.parameters()) if p.requires_grad
        ]
        self.averages = [*self.unet_ema.parameters(), *self.text_ema.parameters()]
        self.optimizer = torch.optim.AdamW(
            self.parameters,
            lr=1e-4,
            betas=(0.9, 0.99),
            weight_decay=0.01,
            fused=self.device != "cpu",
        )
        self._bind_gradients()

    def _bind_gradients(self) -> None:
        """One buffer holds all gradients: it is averaged, measured and cleared in one go."""
        starts, end = [], 0
        for p in self.parameters:
            starts.append(end)
            end += -(-p.numel() // 64) * 64
        self.gradients = torch.zeros(end, device=self.device)
        for p, start in zip(self.parameters, starts, strict=True):
            part = self.gradients[start : start + p.numel()]
            p.grad = part.as_strided(p.shape, p.stride())

    def load(self, folder: Path) -> None:
        """Start from the fp16 weights of a saved pipeline folder."""
        self.unet.load_state_dict(
            UNet2DConditionModel.from_pretrained(folder / "unet").state_dict()
        )
        text = CLIPTextModel.from_pretrained(folder / "text_encoder", dtype=torch.float32)
        self.text.load_state_dict(text.state_dict())
        self.unet_ema.load_state_dict(self.unet.state_dict())
        self.text_ema.load_state_dict(self.text.state_dict())

    def state(self) -> dict[str, Any]:
        """Everything needed to go on exactly; kept on the training machine only."""
        return {
            "unet": self.unet.state_dict(),
            "text": self.text.state_dict(),
            "unet_ema": self.unet_ema.state_dict(),
            "text_ema": self.text_ema.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "samples": self.samples,
            "steps": self.steps,
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Go on from `state()`."""
        for name in ("unet", "text", "unet_ema", "text_ema", "optimizer"):
            getattr(self, name).load_state_dict(state[name])
        self.samples, self.steps = state["samples"], state["steps"]

    def predictor(self, compiled: bool) -> Predict:
        """The UNet as (latents, timesteps, text) -> v, compiled on a GPU."""
        unet = self.unet

        def predict(x: Tensor, t: Tensor, c: Tensor) -> Tensor:
            return unet(x, t, c, return_dict=False)[0]  # type: ignore[no-any-return]

        if not compiled:
            return predict
        if self._compiled is None:
            self._compiled = torch.compile(predict, dynamic=False)
        return self._compiled

    def warm_up(self, batch: int, predict: Predict, size: int = 256) -> None:
        """One forward and backward pass at a training shape: compiles, changes no weight."""
        side = size // LATENT_SCALE
        x = torch.randn(batch, LATENT_CHANNELS, side, side, device=self.device)
        x = x.to(memory_format=torch.channels_last)
        self.padding.mask = torch.ones(batch, 1, 1, 1, device=self.device)
        text = torch.randn(batch, TOKENS, TEXT_WIDTH, device=self.device, requires_grad=True)
        t = torch.randint(0, TRAIN_TIMESTEPS, (batch,), device=self.device)
        with torch.autocast(
            self.device.split(":")[0], torch.bfloat16, enabled=self.device != "cpu"
        ):
            out = predict(x, t, text)
        out.float().pow(2).mean().backward()  # type: ignore[no-untyped-call]  # torch
        self.gradients.zero_()

    def train(  # noqa: PLR0915  one loop, read top to bottom
        self,
        latents: Latents,
        settings: DiffusionSettings,
        *,
        large: Latents | None = None,
        compiled: bool,
        log: Callable[..., None],
        at_mark: Callable[[float], None],
        marks: Sequence[float] = (0.5,),
        max_steps: int | None = None,
    ) -> None:
        """Minimise the squared error of v (Salimans & Ho 2022) for `settings.seconds`.

        `large` holds pictures of twice the side, for `settings.large_every`. `at_mark(share)` is
        called in the first process when each share of the time has passed; its time is not counted.
        """
        device, kind = self.device, self.device.split(":")[0]
        bars = alpha_bars().float().to(device)
        signal, noise_level = bars.sqrt(), (1 - bars).sqrt()
        empty = torch.from_numpy(self.tokenizer([""])).long().to(device)
        predict = self.predictor(compiled)
        steps: dict[tuple[int, int], TrainingStep] = {}
        spent, step, skipped = 0.0, 0, torch.zeros((), device=device)
        total = torch.zeros((), device=device)
        shown = 0
        left = list(marks)
        last = time.monotonic()
        lag = 50
        while spent < settings.seconds and (max_steps is None or step < max_steps):
            done = spent / settings.seconds
            decay = max(0.0, (done - 1 + settings.decay_share) / settings.decay_share)
            rate = settings.peak_lr * min(1.0, (step + 1) / settings.warmup_steps)
            rate *= 1 - (1 - settings.final_lr_share) * decay
            self.optimizer.param_groups[0]["lr"] = rate

            twice = large is not None and settings.large_every and step % settings.large_every == 0
            source = large if large is not None and twice else latents
            n = max(1, settings.batch // 4) if twice else settings.batch
            index = source.draw(n, settings.photo_share)
            clean = source.values[index].float()
            shift = torch.randint(clean.shape[-1], (2,)).tolist()
            clean = torch.roll(clean, shift, (2, 3)).contiguous(memory_format=torch.channels_last)
            which = torch.randint(source.ids.shape[1], (n,), device=device)
            ids = source.ids[index, which]
            drop = torch.rand(n, 1, device=device) < settings.caption_drop
            ids = torch.where(drop, empty, ids)
            ramp = (torch.randperm(n, device=device) + torch.rand(n, device=device)) / n
            t = (ramp * TRAIN_TIMESTEPS).long().clamp(max=TRAIN_TIMESTEPS - 1)
            eps = torch.randn_like(clean)
            a, s = signal[t].view(-1, 1, 1, 1), noise_level[t].view(-1, 1, 1, 1)
            shape = n, clean.shape[-1]
            if shape not in steps:
                steps[shape] = self._new_step(predict, *shape, log)
            now_step = steps[shape]
            now_step.x.copy_(a * clean + s * eps)
            now_step.target.copy_(a * eps - s * clean)
            now_step.t.copy_(t)
            zero_padded = torch.rand(n, 1, 1, 1, device=device) < settings.zero_padding_share
            now_step.mask.copy_((~zero_padded).float())
            with torch.autocast(kind, torch.bfloat16, enabled=kind != "cpu"):
                words = self.text(ids).last_hidden_state
            now_step.words.data.copy_(words.detach())
            loss = now_step.run()
            assert now_step.words.grad is not None
            words.backward(now_step.words.grad.to(words.dtype))
            skipped += self._step()
            self._average(settings.ema_decay)
            step += 1
            shown += n * self.team.size
            self.samples, self.steps = self.samples + n * self.team.size, self.steps + 1
            total += loss
            if step % lag == 0:
                mean = float(total) / lag  # waits for the device, so the clock below is true
                total.zero_()
                now = time.monotonic()
                rate_now, shown = shown / (now - last), 0
                spent, last = self.team.agree(spent + now - last, device), now
                if step % 250 == 0 or step <= 100:
                    log("unet", step=step, loss=round(mean, 4), lr=round(rate, 6),
                        samples_per_s=round(rate_now), samples=self.samples,
                        skipped=int(skipped))  # fmt: skip
                if left and spent / settings.seconds >= left[0]:
                    share = left.pop(0)
                    if self.team.leads:
                        at_mark(share)
                    self.team.agree(0.0, device)
                    last = time.monotonic()
        log("unet end", step=step, samples=self.samples, skipped=int(skipped))

    def _new_step(
        self, predict: Predict, n: int, side: int, log: Callable[..., None]
    ) -> TrainingStep:
        step = TrainingStep(predict, self.padding, n, side, self.device)
        step.run = GraphedStep(step.plain, self.device, log, f"unet {n} x {side}")
        self.gradients.zero_()
        return step

    @torch.no_grad()
    def _step(self) -> Tensor:
        """Clip and step unless the gradient is not finite; returns 1 where it was skipped."""
        self.team.average(self.gradients)
        norm = self.gradients.norm()
        bad = (~torch.isfinite(norm)).float()
        self.gradients.div_(norm.clamp(min=1.0))
        if self.device == "cpu":
            if not bool(bad):
                self.optimizer.step()
        else:
            # Fused AdamW reads these two and then does nothing, without waiting for the device.
            vars(self.optimizer).update(grad_scale=None, found_inf=bad)
            self.optimizer.step()
        self.gradients.zero_()
        return bad

    @torch.no_grad()
    def _average(self, decay: float) -> None:
        keep = min(decay, (1 + self.steps) / (10 + self.steps))
        torch._foreach_lerp_(self.averages, self.parameters, 1 - keep)

    @torch.no_grad()
    def sample(
        self,
        prompts: Sequence[str],
        *,
        size: int = 256,
        steps: int = 20,
        guidance_scale: float | None = None,
        seed: int = 0,
        padding: str = "wrapped",
        batch: int = 96,
    ) -> Tensor:
        """Latents (n, 8, size/8, size/8) for `prompts` from the averaged weights."""
        self.sampling_padding.mode = padding
        scale = self.guidance_scale if guidance_scale is None else guidance_scale
        generator = torch.Generator(self.device).manual_seed(seed)
        out = []
        side = size // LATENT_SCALE
        kind = self.device.split(":")[0]
        for start in range(0, len(prompts), batch):
            part = list(prompts[start : start + batch])
            ids = torch.from_numpy(self.tokenizer([*([""] * len(part)), *part])).long()
            with torch.autocast(kind, torch.bfloat16, enabled=kind != "cpu"):
                words = self.text_ema(ids.to(self.device)).last_hidden_state
            scheduler = DPMSolverMultistepScheduler(**scheduler_config())
            scheduler.set_timesteps(steps, device=self.device)
            x = torch.randn(
                len(part), LATENT_CHANNELS, side, side, generator=generator, device=self.device
            )
            for t in scheduler.timesteps:
                with torch.autocast(kind, torch.bfloat16, enabled=kind != "cpu"):
                    v = self.unet_ema(torch.cat([x, x]), t, words, return_dict=False)[0].float()
                free, led = v.chunk(2)
                x = scheduler.step(free + scale * (led - free), t, x, return_dict=False)[0]
            out.append(x)
        return torch.cat(out)
