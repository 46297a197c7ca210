"""How many denoising steps really run: one function of (num_inference_steps, strength), as diffusers counts them."""

from __future__ import annotations

import math

from core_server.errors import InvalidRequest
from core_server.ranges import STRENGTH


def steps_run(
    num_inference_steps: int, strength: float, *, counts_partial_step: bool = False
) -> int:
    """Steps that a diffusers image-to-image or inpaint pipeline runs, 0..num_inference_steps.

    The same arithmetic, in the same precision, as `get_timesteps` of the stock pipelines: those of UNet families leave
    out a step that has begun in part, those of flow-matching families run it (counts_partial_step).
    """
    wanted = num_inference_steps * strength
    if counts_partial_step:
        return num_inference_steps - int(
            max(num_inference_steps - min(wanted, num_inference_steps), 0)
        )
    return min(int(wanted), num_inference_steps)


def enough_steps(
    num_inference_steps: int, strength: float, *, counts_partial_step: bool = False
) -> int:
    """The least number of inference steps, from `num_inference_steps` on, of which at least one runs."""
    steps = max(num_inference_steps, math.floor(1 / strength))
    if steps_run(num_inference_steps, strength, counts_partial_step=counts_partial_step) >= 1:
        return num_inference_steps
    while steps_run(steps, strength, counts_partial_step=counts_partial_step) < 1:
        steps += 1
    return steps


def require_steps(
    num_inference_steps: int, strength: float, field: str, *, counts_partial_step: bool = False
) -> int:
    """`steps_run`, refusing requests of less than one step instead of quietly doing more than was asked for.

    Errors: InvalidRequest for a strength outside (0, 1] and for less than one step.
    """
    STRENGTH.check(strength, field)
    steps = steps_run(num_inference_steps, strength, counts_partial_step=counts_partial_step)
    if steps < 1:
        least_steps = math.ceil(1 / strength)
        least_strength = math.ceil(100 / num_inference_steps) / 100
        raise InvalidRequest(
            field,
            f"A strength of {strength:g} of {num_inference_steps} steps is less than one step; raise strength to "
            f"{least_strength:g} or num_inference_steps to {least_steps}.",
            allowed="strength x num_inference_steps of at least 1",
        )
    return steps
