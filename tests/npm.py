"""The pinned npm packages of a test folder. Without npm their tests are skipped, but never in CI."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest


def node_modules(folder: Path) -> Path:
    """The folder `node_modules` of a folder with package.json and package-lock.json; installed on first use."""
    npm = shutil.which("npm")
    if npm is None:
        return _cannot("node and npm are not installed")
    modules = folder / "node_modules"
    if not (modules / ".package-lock.json").is_file():
        command = [npm, "ci", "--no-fund", "--no-audit", "--ignore-scripts", "--loglevel=error"]
        outcome = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300)
        if outcome.returncode:
            return _cannot(f"npm ci failed in {folder.name}: {outcome.stderr[:500]}")
    return modules


def _cannot(why: str) -> Path:
    if os.environ.get("CI"):
        pytest.fail(f"CI needs these tests: {why}")
    pytest.skip(why)
