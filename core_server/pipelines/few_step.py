"""Few-step weights: a LoRA of the model, fused into a second denoiser that needs few steps and no second pass.

Source: guidance distillation, Meng et al. (2023), "On Distillation of Guided Diffusion Models", stage one.
"""

from __future__ import annotations

import copy
import dataclasses
from pathlib import Path
from typing import Any

import msgspec
import torch
from safetensors.torch import load_file

from core_server.errors import InvalidRequest, ModelLoadFailed, on_one_line
from core_server.pipelines.model import LoadedModel
from core_server.pipelines.request import Parameters
from core_server.pipelines.sources.weights import read_header
from core_server.pipelines.task import FewStep

WEIGHTS = "pytorch_lora_weights.safetensors"


def with_few_steps(
    model: LoadedModel, parameters: Parameters, *, anywhere: bool = False
) -> LoadedModel:
    """The model to paint with: `model`, or the same with its few-step weights and their settings as its defaults.

    They are the default on a CPU, where a second pass costs most, as long as the request leaves all to the model that
    they were made for: steps, guidance and scheduler, no negative prompt, no style (which may bring one), no adapters.
    anywhere: they are the default on every device, as for live painting.
    Errors: InvalidRequest if they are asked for and not there, ModelLoadFailed.
    """
    wanted, few = parameters.few_step, model.profile.few_step
    file = None if few is None or model.folder is None else model.folder / few.adapter / WEIGHTS
    if few is None or file is None or not file.is_file():
        if wanted:
            raise InvalidRequest(
                "parameters.few_step",
                f"The model {model.profile.model_id!r} has no few-step weights; leave few_step out.",
                allowed="false",
            )
        return model
    if wanted is None:
        wanted = (anywhere or model.device.type == "cpu") and _is_open(parameters)
    if not wanted:
        return model
    if model.few_step_model is None:
        model.few_step_model = _fused(model, few, file)
    return model.few_step_model


def _is_open(parameters: Parameters) -> bool:
    given = (parameters.num_inference_steps, parameters.guidance_scale)
    return given == (None, None) and not (
        parameters.scheduler
        or parameters.negative_prompt
        or parameters.style
        or parameters.adapters
    )


def _fused(model: LoadedModel, few: FewStep, file: Path) -> LoadedModel:
    read_header(file)
    denoiser = copy.deepcopy(model.denoiser)
    try:
        _fuse(denoiser, load_file(file))
    except torch.OutOfMemoryError:
        raise
    except (ValueError, KeyError, RuntimeError) as error:
        raise ModelLoadFailed(
            f"The few-step weights of model {model.profile.model_id!r} do not fit it: "
            f"{on_one_line(error, 200)}",
            model=model.profile.model_id,
        ) from error
    return dataclasses.replace(
        model,
        components={**model.components, model.family.denoiser: denoiser},
        profile=msgspec.structs.replace(
            model.profile,
            num_inference_steps=few.num_inference_steps,
            guidance_scale=few.guidance_scale,
            scheduler=few.scheduler,
        ),
        few_step=True,
        few_step_model=None,
        rack=None,
        _pipelines={},
    )


def _fuse(denoiser: Any, lora: dict[str, Any]) -> None:
    prefix = "unet" if any(key.startswith("unet.") for key in lora) else None
    denoiser.load_lora_adapter(lora, prefix=prefix, adapter_name="few_step")
    denoiser.fuse_lora()
    denoiser.unload_lora()
    denoiser.eval().requires_grad_(False)
