"""Installs the pinned npm packages once."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.npm import node_modules as install


@pytest.fixture(scope="session")
def node_modules() -> Path:
    """buf and the Node client's packages."""
    return install(Path(__file__).parent)
