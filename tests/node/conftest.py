"""Installs the pinned npm packages once."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

HERE = Path(__file__).parent


@pytest.fixture(scope="session")
def node_modules() -> Path:
    """The folder of the pinned packages. Without npm the tests are skipped, but never in CI."""
    if shutil.which("npm") is None:
        if os.environ.get("CI"):
            pytest.fail("CI needs node and npm for the contract tests")
        pytest.skip("needs node and npm")
    folder = HERE / "node_modules"
    if not (folder / ".package-lock.json").is_file():
        command = ["npm", "ci", "--no-fund", "--no-audit", "--loglevel=error"]
        subprocess.run(command, cwd=HERE, check=True, shell=os.name == "nt", timeout=300)
    return folder
