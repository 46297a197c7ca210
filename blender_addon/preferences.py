"""How to reach the server. Kept in Blender's preferences, shared by all files."""

import os
from pathlib import Path

import bpy

from . import keymap
from .bridge.addresses import configured_address, refusal
from .bridge.request import Server
from .host import controller

PACKAGE: str = __package__ or ""
"""Name of the add-on as Blender knows it, such as "bl_ext.user_default.scumble"."""


def _models(settings: bpy.types.PropertyGroup, context: bpy.types.Context, text: str) -> list[str]:
    names = (name for name, _ in controller.get().catalogue.models)
    return [name for name in names if text.lower() in name.lower()]


class ScumblePreferences(bpy.types.AddonPreferences):
    """Preferences > Add-ons > Scumble."""

    bl_idname = PACKAGE

    address: bpy.props.StringProperty(
        name="Server", description="host:port; empty finds the server that runs on this computer",
    )  # fmt: skip
    token: bpy.props.StringProperty(
        name="Token", subtype="PASSWORD",
        description="Empty takes SCUMBLE_TOKEN, else the token of the server that runs on this computer. "
        "Saved readable in Blender's preferences",
    )  # fmt: skip
    root_certificates: bpy.props.StringProperty(
        name="Certificate", subtype="FILE_PATH",
        description="PEM file to trust for a server that uses TLS; empty trusts what the system trusts",
    )  # fmt: skip
    data_dir: bpy.props.StringProperty(
        name="Data Folder", subtype="DIR_PATH",
        description="The server's data folder; empty takes its usual place",
    )  # fmt: skip
    default_model: bpy.props.StringProperty(
        name="Default Model", description="Paints where a file chooses none; empty takes the server's default",
        search=_models, search_options={"SUGGESTION"},
    )  # fmt: skip
    free_on_render: bpy.props.BoolProperty(
        name="Free Memory for Renders", default=False,
        description="When Blender begins to render, the server's models leave the graphics card; the next texture "
        "waits until they are back. For a server on this computer only",
    )  # fmt: skip
    server_command: bpy.props.StringProperty(
        name="Command", subtype="FILE_PATH",
        description="The `scumble` command that Start Server runs; empty looks for it on the PATH",
    )  # fmt: skip

    def draw(self, context: bpy.types.Context) -> None:
        """Called by Blender."""
        layout = self.layout
        layout.use_property_split = True
        layout.use_property_decorate = False
        layout.prop(self, "server_command", placeholder="scumble")
        layout.prop(self, "data_dir")
        layout.separator()
        layout.prop(self, "address", placeholder="the server on this computer")
        layout.prop(self, "token")
        layout.prop(self, "root_certificates")
        if sentence := online_refusal(context):
            layout.label(text=sentence, icon="ERROR")
        layout.operator("scumble.check_server")
        layout.separator()
        layout.prop(self, "default_model", placeholder="the server's default")
        for line in memory_lines():
            layout.label(text=line, icon="MEMORY")
        layout.prop(self, "free_on_render")
        layout.operator("scumble.free_memory")
        layout.separator()
        layout.label(text="Shortcuts")
        keymap.draw(layout, context)

    def to_server(self) -> Server:
        """The preferences as the bridge wants them."""
        return Server(
            address=self.address.strip(),
            token=self.token.strip(),
            data_dir=_path(self.data_dir),
            root_certificates=_path(self.root_certificates),
        )


def get(context: bpy.types.Context) -> ScumblePreferences:
    """The add-on's preferences."""
    preferences: ScumblePreferences = context.preferences.addons[PACKAGE].preferences
    return preferences


def default_model(context: bpy.types.Context) -> str:
    """The model that paints where a file chooses none; "" for the server's."""
    return str(get(context).default_model.strip())


def memory_lines() -> list[str]:
    """What the server's device has, for people; empty until the server was asked."""
    memory = controller.get().memory
    if memory is None or not memory.total:
        return []
    free, total = memory.free / 2**30, memory.total / 2**30
    return [
        f"The server's device has {free:.1f} of {total:.1f} GB free.",
        f"Up to {memory.width} x {memory.height} px are painted in one piece, larger ones in parts.",
    ]


def online_refusal(context: bpy.types.Context) -> str:
    """Why Blender does not allow the configured server now, or ""."""
    address = configured_address(get(context).address, os.environ)
    return refusal(address, online_access=bpy.app.online_access)


def _path(text: str) -> Path | None:
    return Path(bpy.path.abspath(text)) if text.strip() else None


def register() -> None:
    bpy.utils.register_class(ScumblePreferences)


def unregister() -> None:
    bpy.utils.unregister_class(ScumblePreferences)
