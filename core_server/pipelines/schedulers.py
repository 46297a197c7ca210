"""Schedulers by the names the field uses: one table from a name to a diffusers class and its settings."""

from __future__ import annotations

import copy
import functools
import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from core_server.errors import InvalidRequest


@dataclass(frozen=True, slots=True)
class SchedulerChoice:
    """A diffusers scheduler class by name, the settings that make it this one, and a title for people."""

    class_name: str
    title: str
    settings: Mapping[str, Any] = field(default_factory=dict)


_PLAIN = {"use_karras_sigmas": False}
_KARRAS = {"use_karras_sigmas": True}
_TRAILING = {"timestep_spacing": "trailing"}
_FLOW = {"use_flow_sigmas": True, "prediction_type": "flow_prediction", "use_karras_sigmas": False}

SCHEDULERS: Mapping[str, SchedulerChoice] = {
    "euler": SchedulerChoice("EulerDiscreteScheduler", "Euler", _PLAIN),
    "euler_karras": SchedulerChoice("EulerDiscreteScheduler", "Euler Karras", _KARRAS),
    "euler_trailing": SchedulerChoice(
        "EulerDiscreteScheduler", "Euler, trailing steps", _PLAIN | _TRAILING
    ),
    "euler_a": SchedulerChoice("EulerAncestralDiscreteScheduler", "Euler ancestral"),
    "heun": SchedulerChoice("HeunDiscreteScheduler", "Heun", _PLAIN),
    "heun_karras": SchedulerChoice("HeunDiscreteScheduler", "Heun Karras", _KARRAS),
    "dpm2": SchedulerChoice("KDPM2DiscreteScheduler", "DPM2", _PLAIN),
    "dpm2_a": SchedulerChoice("KDPM2AncestralDiscreteScheduler", "DPM2 ancestral", _PLAIN),
    "dpmpp_2m": SchedulerChoice(
        "DPMSolverMultistepScheduler", "DPM++ 2M", _PLAIN | {"algorithm_type": "dpmsolver++"}
    ),
    "dpmpp_2m_karras": SchedulerChoice(
        "DPMSolverMultistepScheduler",
        "DPM++ 2M Karras",
        _KARRAS | {"algorithm_type": "dpmsolver++"},
    ),
    "dpmpp_2m_sde": SchedulerChoice(
        "DPMSolverMultistepScheduler",
        "DPM++ 2M SDE",
        _PLAIN | {"algorithm_type": "sde-dpmsolver++"},
    ),
    "dpmpp_2m_sde_karras": SchedulerChoice(
        "DPMSolverMultistepScheduler",
        "DPM++ 2M SDE Karras",
        _KARRAS | {"algorithm_type": "sde-dpmsolver++"},
    ),
    "dpmpp_2s": SchedulerChoice(
        "DPMSolverSinglestepScheduler",
        "DPM++ 2S",
        _PLAIN | {"algorithm_type": "dpmsolver++", "lower_order_final": True},
    ),
    "dpmpp_2s_karras": SchedulerChoice(
        "DPMSolverSinglestepScheduler",
        "DPM++ 2S Karras",
        _KARRAS | {"algorithm_type": "dpmsolver++", "lower_order_final": True},
    ),
    "dpmpp_sde": SchedulerChoice(
        "DPMSolverSinglestepScheduler",
        "DPM++ SDE",
        _PLAIN | {"algorithm_type": "sde-dpmsolver++", "lower_order_final": True},
    ),
    "dpmpp_sde_karras": SchedulerChoice(
        "DPMSolverSinglestepScheduler",
        "DPM++ SDE Karras",
        _KARRAS | {"algorithm_type": "sde-dpmsolver++", "lower_order_final": True},
    ),
    "unipc": SchedulerChoice("UniPCMultistepScheduler", "UniPC", _PLAIN),
    "unipc_karras": SchedulerChoice("UniPCMultistepScheduler", "UniPC Karras", _KARRAS),
    "deis": SchedulerChoice("DEISMultistepScheduler", "DEIS", _PLAIN),
    "ddim": SchedulerChoice("DDIMScheduler", "DDIM", {"clip_sample": False}),
    "ddim_trailing": SchedulerChoice(
        "DDIMScheduler", "DDIM, trailing steps", {"clip_sample": False} | _TRAILING
    ),
    "ddpm": SchedulerChoice("DDPMScheduler", "DDPM", {"clip_sample": False}),
    "pndm": SchedulerChoice("PNDMScheduler", "PNDM", {"skip_prk_steps": True}),
    "lcm": SchedulerChoice("LCMScheduler", "LCM"),
    "tcd": SchedulerChoice("TCDScheduler", "TCD"),
    "flow_euler": SchedulerChoice(
        "FlowMatchEulerDiscreteScheduler",
        "Flow matching, Euler",
        _PLAIN | {"stochastic_sampling": False},
    ),
    "flow_euler_karras": SchedulerChoice(
        "FlowMatchEulerDiscreteScheduler",
        "Flow matching, Euler Karras",
        _KARRAS | {"stochastic_sampling": False},
    ),
    "flow_euler_a": SchedulerChoice(
        "FlowMatchEulerDiscreteScheduler",
        "Flow matching, Euler ancestral",
        _PLAIN | {"stochastic_sampling": True},
    ),
    "flow_heun": SchedulerChoice("FlowMatchHeunDiscreteScheduler", "Flow matching, Heun"),
    "flow_lcm": SchedulerChoice("FlowMatchLCMScheduler", "Flow matching, LCM"),
    "flow_unipc": SchedulerChoice("UniPCMultistepScheduler", "Flow matching, UniPC", _FLOW),
    "flow_dpmpp_2m": SchedulerChoice(
        "DPMSolverMultistepScheduler",
        "Flow matching, DPM++ 2M",
        _FLOW | {"algorithm_type": "dpmsolver++"},
    ),
    "flow_dpmpp_2m_sde": SchedulerChoice(
        "DPMSolverMultistepScheduler",
        "Flow matching, DPM++ 2M SDE",
        _FLOW | {"algorithm_type": "sde-dpmsolver++"},
    ),
    "scm": SchedulerChoice("SCMScheduler", "Consistency, each step noised anew"),
}
"""Every scheduler a request may name. Sources: the papers cited in each diffusers class."""

SCHEDULER_NAMES: tuple[str, ...] = tuple(SCHEDULERS)
FLOW_SCHEDULERS: tuple[str, ...] = tuple(name for name in SCHEDULERS if name.startswith("flow_"))
"""For models that predict the velocity of a straight flow from noise to picture."""
CONSISTENCY_SCHEDULERS: tuple[str, ...] = ("scm",)
"""For models distilled to a few steps along a trigonometric flow. Their pipelines' result is the last step's clean
picture, not the latents after it."""
DIFFUSION_SCHEDULERS: tuple[str, ...] = tuple(
    name for name in SCHEDULERS if name not in FLOW_SCHEDULERS + CONSISTENCY_SCHEDULERS
)
"""For models that predict the noise, or the velocity of a diffusion process."""


def scheduler_choice(
    name: str, names: Sequence[str] = SCHEDULER_NAMES, field: str = "parameters.scheduler"
) -> SchedulerChoice:
    """The entry of that name. names: those that the model can use. Errors: InvalidRequest with all of them."""
    if name in names:
        return SCHEDULERS[name]
    allowed = ", ".join(names)
    why = "This model cannot use the scheduler" if name in SCHEDULERS else "There is no scheduler"
    raise InvalidRequest(
        field,
        f"{why} {name[:100]!a}; choose one of {allowed}, or leave it empty for the model's own.",
        allowed=allowed,
    )


def scheduler_name(config: Mapping[str, Any]) -> str:
    """The name that fits a `scheduler_config.json` best: same class, most settings equal; "euler" for unknown ones."""
    same_class = {
        name: sum(
            1 if config.get(key, False) == value else -1 for key, value in choice.settings.items()
        )
        for name, choice in SCHEDULERS.items()
        if choice.class_name == config.get("_class_name")
    }
    return max(same_class, key=lambda name: same_class[name], default="euler")


def has_clean_steps(name: str) -> bool:
    """Whether each step gives the clean picture beside the latents, and the last one's is the result."""
    return name in CONSISTENCY_SCHEDULERS


def make_scheduler(name: str, config: Mapping[str, Any]) -> Any:
    """A fresh diffusers scheduler for one job (they hold state). config: the model's own scheduler configuration."""
    return _suited(_built(name, config), name)


class Schedulers:
    """The schedulers of one model: each is built once and copied for a job, which takes a fifth of the time.

    config: as for `make_scheduler`.
    """

    def __init__(self, config: Mapping[str, Any]) -> None:
        self._config = config
        self._kept: dict[str, Any] = {}

    def fresh(self, name: str) -> Any:
        """What `make_scheduler` gives. Errors: InvalidRequest for a name that there is not."""
        if name not in self._kept:
            self._kept[name] = _built(name, self._config)
        built = self._kept[name]
        # Tensors and configurations are replaced, never written to; lists are.
        shared = (it for it in vars(built).values() if hasattr(it, "data_ptr"))
        same = {id(it): it for it in (built.config, *shared)}
        return _suited(copy.deepcopy(built, same), name)


def _built(name: str, config: Mapping[str, Any]) -> Any:
    import diffusers  # noqa: PLC0415  names and titles are wanted without torch

    choice = scheduler_choice(name)
    kind = getattr(diffusers, choice.class_name)
    settings = dict(choice.settings)
    if name in FLOW_SCHEDULERS:
        # The same number, by the name that this class has for it.
        shift = config.get("shift", config.get("flow_shift", 1.0))
        settings["shift" if choice.class_name.startswith("FlowMatch") else "flow_shift"] = shift
    return kind.from_config(config, **settings)


def _suited(scheduler: Any, name: str) -> Any:
    """With what pipelines expect of it: functions that know this one, so that a copy needs its own."""
    if name in FLOW_SCHEDULERS:
        _take_what_flow_pipelines_give(scheduler)
    if name in CONSISTENCY_SCHEDULERS:
        scheduler.scale_noise = _trigonometric(scheduler.config.sigma_data)
    if type(scheduler).__name__ == "EulerDiscreteScheduler":
        _spare_questions(scheduler)
    return scheduler


def _spare_questions(scheduler: Any) -> None:
    """Stock Euler sends its sigmas to a GPU and back, and asks it which of the timesteps the first one is: five waits
    before the first step. Here timesteps are sent once, ready. The same numbers."""
    stock, stock_index = scheduler.set_timesteps, scheduler._init_step_index
    if scheduler.config.timestep_type != "discrete":  # those are worked out on the device
        return
    starts_alone = False

    def set_timesteps(
        num_inference_steps: int | None = None, device: Any = None, **others: Any
    ) -> None:
        nonlocal starts_alone
        stock(num_inference_steps, **others)
        first, *following = scheduler.timesteps[:2].tolist()
        starts_alone = first not in following
        scheduler.timesteps = scheduler.timesteps.to(device=device)

    def init_step_index(timestep: Any) -> None:
        at = getattr(timestep, "data_ptr", None)
        is_first = at is not None and at() == scheduler.timesteps.data_ptr()
        if scheduler.begin_index is None and starts_alone and is_first:
            scheduler._step_index = 0
        else:
            stock_index(timestep)

    # Pipelines ask what it takes, twice.
    ours: Any = set_timesteps
    ours.__signature__ = _signature(scheduler.__class__)
    scheduler.set_timesteps, scheduler._init_step_index = ours, init_step_index


@functools.cache
def _signature(kind: Any) -> inspect.Signature:
    """Of `set_timesteps` of a scheduler's class, bound."""
    stock = inspect.signature(kind.set_timesteps)
    return stock.replace(parameters=list(stock.parameters.values())[1:])


def _trigonometric(sigma_data: float) -> Any:
    """As the pipelines noise a picture; source: Lu and Song, arXiv:2410.11081, section 3."""

    def scale_noise(sample: Any, timestep: Any, noise: Any) -> Any:
        return timestep.cos() * (sample * sigma_data) + timestep.sin() * (noise * sigma_data)

    return scale_noise


def _take_what_flow_pipelines_give(scheduler: Any) -> None:
    """The flow pipelines hand their own sigmas and their shift by size (mu) to whatever scheduler they have.

    Schedulers that space sigmas themselves get the number of steps alone, and mu only where they can use it. Noising is
    called scale_noise by some classes and add_noise by the others.
    """
    if not hasattr(scheduler, "scale_noise"):
        scheduler.scale_noise = lambda sample, timestep, noise: scheduler.add_noise(
            sample, noise, timestep
        )
    stock = scheduler.set_timesteps
    known = inspect.signature(stock).parameters
    spaces_itself = "sigmas" not in known or bool(scheduler.config.get("use_flow_sigmas", False))
    if not spaces_itself:
        return

    def set_timesteps(
        num_inference_steps: int | None = None,
        device: Any = None,
        sigmas: Sequence[float] | None = None,
        mu: float | None = None,
    ) -> None:
        steps = num_inference_steps if sigmas is None else len(sigmas)
        shifts = "mu" in known and bool(scheduler.config.get("use_dynamic_shifting", False))
        stock(steps, device=device, **({"mu": mu} if shifts and mu is not None else {}))

    scheduler.set_timesteps = set_timesteps
