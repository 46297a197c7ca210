"""The extension as Blender sees it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import addon_utils
import bpy
import pytest

import scumble

from .conftest import MODULE, PROFILE


@pytest.mark.usefixtures("scumble")
def test_enabled_with_its_own_wheels() -> None:
    assert addon_utils.check(MODULE) == (True, True)
    packages = Path(scumble.__file__).parents[1]
    assert packages.is_relative_to(PROFILE.name)
    assert {"grpc", "google", "typing_extensions.py"} <= {path.name for path in packages.iterdir()}


@pytest.mark.usefixtures("scumble")
def test_panels_stand_in_both_editors() -> None:
    panels = (bpy.types.SCUMBLE_PT_view3d, bpy.types.SCUMBLE_PT_image_editor)
    assert [panel.bl_space_type for panel in panels] == ["VIEW_3D", "IMAGE_EDITOR"]
    assert {panel.bl_category for panel in panels} == {"Scumble"}
    operators = ("generate_texture", "cancel_generation", "check_server", "start_server")
    for name in operators:
        assert getattr(bpy.ops.scumble, name).get_rna_type().description


def test_everything_an_artist_can_touch_has_a_tooltip(scumble: Any, preferences: Any) -> None:
    names = set(dir(bpy.ops.scumble)) - {
        "add_preset",
        "tell",
    }  # Blender's own fields; not for artists
    kinds = [getattr(bpy.ops.scumble, name).get_rna_type() for name in sorted(names)]
    assert len(kinds) > 25
    kinds += [scumble.bl_rna, preferences.bl_rna]
    bare = [kind.identifier for kind in kinds if not kind.description and "OT" in kind.identifier]
    for kind in kinds:
        for prop in kind.properties:
            if prop.identifier in ("rna_type", "name", "bl_idname"):
                continue
            if not prop.description:
                bare.append(f"{kind.identifier}.{prop.identifier}")
            if prop.type == "ENUM":
                bare += [
                    f"{prop.identifier} {it.name}" for it in prop.enum_items if not it.description
                ]
    assert bare == []


def test_blenders_own_checker_accepts_the_zip() -> None:
    scripts = Path(bpy.utils.system_resource("SCRIPTS"))
    checker = scripts / "addons_core" / "bl_pkg" / "cli" / "blender_ext.py"
    archive = os.environ["SCUMBLE_TEST_EXTENSION"]
    done = subprocess.run(
        [sys.executable, str(checker), "validate", archive],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
