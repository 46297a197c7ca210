"""Kernels are told apart by their names."""

from __future__ import annotations

import pytest

from core_server.benchmarks.kernel_profile import kind_of


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("void cutlass::Kernel2<cutlass_80_tensorop_f16_s16816gemm_relu_f16>", "matrix product"),
        ("sm90_xmma_fprop_implicit_gemm_f16f16_f16f32_f32_nhwckrsc_nhwc", "convolution"),
        ("cudnn_generated_fort_native_sdpa_sm90_flash_fprop_wgmma_f16", "attention"),
        ("_applied", "normalisation"),
        ("Memcpy DtoD (Device -> Device)", "copies and layouts"),
        ("_gated", "other"),
    ],
)
def test_kinds(name: str, kind: str) -> None:
    assert kind_of(name) == kind
