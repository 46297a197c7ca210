"""Light above white, brought into a model's range and back. The curve is invertible, so nothing is lost in between."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

KNEE = 0.75
"""Linear light up to here is left alone (0.88 in sRGB): the picture that a display shows does not change its look."""
_LARGEST_RATE = 1e4


@dataclass(frozen=True, slots=True)
class ToneCurve:
    """Linear up to KNEE, logarithmic from there to `peak`, which becomes 1; the slope has no step at KNEE.

    f(x) = K + (1 - K) ln(1 + a (x - K)) / ln(1 + a (peak - K)), with a such that f'(K) = 1: a (1 - K) = ln(1 + a (peak
    - K)). A logarithm keeps the relative precision of bright light, as half floats do. The largest of a pixel's three
    components is mapped and the others follow in proportion: its hue and saturation stay.
    """

    peak: float
    rate: float

    @classmethod
    def for_peak(cls, peak: float) -> ToneCurve | None:
        """The curve for the brightest component of a picture, linear Rec.709; None where 1 is enough."""
        if peak <= 1:
            return None
        span = peak - KNEE
        low, high = 0.0, _LARGEST_RATE
        for _ in range(
            200
        ):  # bisection: ln(1 + a span) - a (1 - K) is positive up to the wanted rate
            middle = (low + high) / 2
            low, high = (
                (middle, high) if np.log1p(middle * span) > middle * (1 - KNEE) else (low, middle)
            )
        return cls(peak, low) if low > 1e-6 else None

    def compress(self, light: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
        """(height, width, 3) linear light up to `peak` to at most 1; brighter light goes beyond 1."""
        largest = np.maximum(light.max(axis=2, keepdims=True).astype(np.float64), KNEE)
        mapped = KNEE + np.log1p(self.rate * (largest - KNEE)) / self.rate
        return np.asarray(light * (mapped / largest))

    def expand(self, light: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
        """The way back of `compress`."""
        largest = np.maximum(light.max(axis=2, keepdims=True).astype(np.float64), KNEE)
        mapped = KNEE + np.expm1(self.rate * (largest - KNEE)) / self.rate
        return np.asarray(light * (mapped / largest))
