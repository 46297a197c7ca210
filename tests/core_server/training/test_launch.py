"""Several training processes: what each is told, how a failure ends them, and what they share."""

import sys
from pathlib import Path

import pytest
import torch

from core_server.training.launch import run_team

_REPORT = """
import os, pathlib, sys
names = ("CUDA_VISIBLE_DEVICES", "RANK", "WORLD_SIZE")
text = " ".join(os.environ[name] for name in names)
pathlib.Path(sys.argv[1], os.environ["RANK"]).write_text(text)
"""
_ONE_FAILS = "import os, sys, time; os.environ['RANK'] == '1' and sys.exit(3); time.sleep(3600)"
_AVERAGE = """
import pathlib, sys, torch
from core_server.training.default_model.team import join_team
team = join_team()
flat = torch.full((3,), float(team.rank))
team.average(flat)
agreed = team.agree(10.0 + team.rank, "cpu")
pathlib.Path(sys.argv[1], str(team.rank)).write_text(f"{flat.tolist()} {agreed} {team.leads}")
torch.distributed.destroy_process_group()
"""


def test_each_process_sees_its_own_device_and_rank(tmp_path: Path) -> None:
    assert run_team([sys.executable, "-c", _REPORT, str(tmp_path)], 2) == 0
    assert [(tmp_path / name).read_text() for name in "01"] == ["0 0 2", "1 1 2"]


def test_one_failure_stops_all_and_is_the_exit_status() -> None:
    assert run_team([sys.executable, "-c", _ONE_FAILS], 2) == 3


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a CPU-only process group")
def test_gradients_are_averaged_and_the_first_process_decides(tmp_path: Path) -> None:
    assert run_team([sys.executable, "-c", _AVERAGE, str(tmp_path)], 2) == 0
    assert (tmp_path / "0").read_text() == "[0.5, 0.5, 0.5] 10.0 True"
    assert (tmp_path / "1").read_text() == "[0.5, 0.5, 0.5] 10.0 False"
