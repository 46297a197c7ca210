"""Programs for blocks change the time and nothing else, whatever happened before; wrong ones are found out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from core_server.canvas.plan import SeamlessAxes
from core_server.pipelines.local_runtime import LocalRuntime
from core_server.pipelines.tiers.workshop import Workshop
from tests.core_server.pipelines.conftest import quiet
from tests.core_server.pipelines.tiers.eager_programs import EagerPrograms
from tests.core_server.pipelines.tiers.recorder import Recorder
from tests.core_server.pipelines.tiers.test_graphs import asked, lora
from tests.core_server.pipelines.tiny_families import save_tiny_family

KLEIN = "flux_2_klein"


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    save_tiny_family(KLEIN, folder / "models" / KLEIN)
    transformer = LocalRuntime(KLEIN, "cpu", folder)._model(KLEIN).denoiser
    (folder / "adapters").mkdir()
    tensors: dict[str, torch.Tensor] = {}
    for name, module in transformer.named_modules():
        if name.endswith(("to_q", "to_out.0", "to_qkv_mlp_proj")):
            down, up = torch.randn(2, module.in_features), torch.randn(module.out_features, 2)
            tensors |= {
                f"transformer.{name}.lora_{k}.weight": v for k, v in (("A", down), ("B", up))
            }
    assert tensors
    save_file(tensors, folder / "adapters" / "first.safetensors")
    return folder


def painted(runtime: LocalRuntime, job: Any) -> tuple[np.ndarray, str, str]:
    (output,) = runtime.run(job, {}, quiet)
    return output.pixels.array, output.recipe["kernels"], output.recipe["launched"]


def test_no_program_is_ever_stale(data_dir: Path) -> None:
    """Each job three times in a row, all changes in between, against a runtime without programs."""
    plain = LocalRuntime(KLEIN, "cpu", data_dir)
    programs = EagerPrograms()
    workshop = Workshop(backend=Recorder(), compiler=programs)
    compiled = LocalRuntime(KLEIN, "cpu", data_dir, workshop=workshop)
    jobs = [
        (asked(64), "compiled"),
        (asked(64, seamless=SeamlessAxes.XY), "compiled"),
        (asked(80), "compiled"),
        (asked(64, prompt="rust", adapters=lora("first", 1.0)), "compiled"),
        (asked(64, adapters=lora("first", 0.5)), "compiled"),
        (asked(64), "compiled"),
        (asked(80, seed=4), "compiled"),
    ]
    for job, wanted in jobs:
        expected, _, _ = painted(plain, job)
        for _ in range(3):
            found, kernels, launched = painted(compiled, job)
            assert (found == expected).all(), job
            programs.finish()
        assert kernels == wanted, job
        assert launched == "graph"
    # Two kinds of blocks in two sizes, and with a LoRA, whatever its weight; never again for what was there.
    assert len(programs.asked) == 2 * 3
    assert not programs.refused
    assert programs.calls


def test_nothing_changes_before_the_second_picture_and_while_nothing_is_ready(
    data_dir: Path,
) -> None:
    programs = EagerPrograms()
    runtime = LocalRuntime(KLEIN, "cpu", data_dir, workshop=Workshop(compiler=programs))
    painted(runtime, asked(64))
    assert not programs.asked, "one picture alone is worth no compiler"
    for _ in range(2):
        assert painted(runtime, asked(64))[1] == "stock"
    assert len(programs.asked) == 2
    assert not programs.calls


def test_two_models_of_one_kind_share_programs(data_dir: Path) -> None:
    save_tiny_family(KLEIN, data_dir / "models" / "other")
    programs = EagerPrograms()
    runtime = LocalRuntime(KLEIN, "cpu", data_dir, workshop=Workshop(compiler=programs))
    plain = LocalRuntime(KLEIN, "cpu", data_dir)
    for _ in range(2):
        painted(runtime, asked(64))
    programs.finish()
    job = asked(64, model="other")
    painted(runtime, job)
    found, kernels, _ = painted(runtime, job)
    assert kernels == "compiled"
    assert (found == painted(plain, job)[0]).all()
    assert len(programs.asked) == 2


@pytest.mark.parametrize(
    "programs",
    [
        EagerPrograms(off=0.5),
        EagerPrograms(off=float("nan")),
        EagerPrograms(failure=AssertionError("wrong stride")),
        EagerPrograms(failure=torch.OutOfMemoryError("CUDA out of memory")),
    ],
    ids=["other numbers", "no numbers", "does not run", "no memory"],
)
def test_wrong_programs_are_found_out_at_the_first_call(
    data_dir: Path, programs: EagerPrograms
) -> None:
    expected, _, _ = painted(LocalRuntime(KLEIN, "cpu", data_dir), asked(64))
    runtime = LocalRuntime(KLEIN, "cpu", data_dir, workshop=Workshop(compiler=programs))
    for _ in range(2):
        painted(runtime, asked(64))
    assert programs.finish() == 2
    for _ in range(2):
        found, kernels, _ = painted(runtime, asked(64))
        assert (found == expected).all()
        assert kernels == "stock"
    assert programs.refused
    assert len(programs.asked) == 2, "never tried again"


@pytest.mark.parametrize("name", ["flux", "stable_diffusion_3", "z_image", "qwen_image", "sana"])
def test_every_family_of_transformers_has_blocks(tmp_path: Path, name: str) -> None:
    save_tiny_family(name, tmp_path / "models" / name)
    programs = EagerPrograms()
    runtime = LocalRuntime(name, "cpu", tmp_path, workshop=Workshop(compiler=programs))
    expected, _, _ = painted(runtime, asked(64))
    painted(runtime, asked(64))
    assert programs.finish()
    found, kernels, _ = painted(runtime, asked(64))
    assert (found == expected).all()
    assert kernels == "compiled"
