"""An image in memory: a buffer that says what its numbers mean. numpy is used only if the caller has it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from scumble.client.errors import InvalidRequest
from scumble.client.values import ColorSpace, Extent, SampleType

if TYPE_CHECKING:
    import numpy.typing as npt
    from typing_extensions import Buffer

_SAMPLE_TYPES = {
    "uint8": SampleType.U8,
    "uint16": SampleType.U16,
    "float16": SampleType.F16,
    "float32": SampleType.F32,
}


@dataclass(frozen=True, slots=True, eq=False)
class Pixels:
    """Pixels with their meaning.

    data: any C-contiguous buffer of exactly width x height x channels samples: row 0 on top, interleaved, no row
    padding, little-endian; kept as it is, not copied. channels: 1 (grey, mask, height), 3 (RGB) or 4 (RGBA, straight
    alpha). icc_profile: the profile's bytes, set exactly when color_space is ICC.
    Raises InvalidRequest where these do not agree.
    """

    data: Buffer
    width: int
    height: int
    channels: int
    sample_type: SampleType
    color_space: ColorSpace
    icc_profile: bytes = b""

    def __post_init__(self) -> None:
        if self.width < 1 or self.height < 1 or self.channels not in (1, 3, 4):
            raise InvalidRequest.about(
                "image",
                f"An image needs at least 1 x 1 px and 1, 3 or 4 channels, not "
                f"{self.width} x {self.height} px with {self.channels}.",
            )
        # Plain strings are welcome where an enum is expected.
        object.__setattr__(self, "sample_type", SampleType(self.sample_type))
        object.__setattr__(self, "color_space", ColorSpace(self.color_space))
        if (self.color_space is ColorSpace.ICC) != bool(self.icc_profile):
            raise InvalidRequest.about(
                "image", "An ICC profile goes with the colour space ICC, and only with it."
            )
        size = self.width * self.height * self.channels * self.sample_type.size
        view = memoryview(self.data)
        if not view.c_contiguous or view.nbytes != size:
            raise InvalidRequest.about(
                "image",
                f"{self.width} x {self.height} px with {self.channels} channels of {self.sample_type} need {size} "
                f"contiguous bytes, not {view.nbytes}.",
            )

    @property
    def extent(self) -> Extent:
        """Size in px."""
        return Extent(self.width, self.height)

    @property
    def view(self) -> memoryview:
        """The bytes, flat and not copied."""
        view = memoryview(self.data)
        return view if view.format == "B" and view.ndim == 1 else view.cast("B")

    def tobytes(self) -> bytes:
        """The bytes; the very object that came in where that was `bytes`."""
        return self.data if isinstance(self.data, bytes) else self.view.tobytes()

    def numpy(self) -> npt.NDArray[Any]:
        """A view of shape (height, width, channels) on the same memory. Needs numpy."""
        import numpy as np  # noqa: PLC0415

        array = np.frombuffer(self.view, dtype=self.sample_type.dtype)
        return array.reshape(self.height, self.width, self.channels)

    @classmethod
    def from_numpy(
        cls,
        array: npt.NDArray[Any],
        color_space: ColorSpace = ColorSpace.SRGB,
        icc_profile: bytes = b"",
    ) -> Pixels:
        """Pixels from an array of shape (height, width) or (height, width, 1|3|4), row 0 on top.

        dtype: uint8, uint16, float16 or float32. Copied only if it is not contiguous little-endian.
        """
        sample_type = _SAMPLE_TYPES.get(array.dtype.name)
        if sample_type is None or array.ndim not in (2, 3):
            raise InvalidRequest.about(
                "image",
                f"An image needs shape (height, width[, channels]) and one of {', '.join(_SAMPLE_TYPES)}, not "
                f"{array.shape} and {array.dtype.name}.",
            )
        height, width = array.shape[:2]
        channels = array.shape[2] if array.ndim == 3 else 1
        contiguous = array.astype(sample_type.dtype, order="C", copy=False)
        return cls(contiguous.data, width, height, channels, sample_type, color_space, icc_profile)

    @classmethod
    def mask(
        cls, data: Buffer, width: int, height: int, sample_type: SampleType = SampleType.U8
    ) -> Pixels:
        """A mask: one channel, full scale = repaint."""
        return cls(data, width, height, 1, sample_type, ColorSpace.NON_COLOR)
