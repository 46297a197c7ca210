"""What only Windows has: comtypes, photoshop-python-api, the process list. Imported nowhere at module level."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from photoshop_plugin.errors import CannotConnect, NotInstalled, NotWindows
from photoshop_plugin.host.application import ScriptRunner


def require_com() -> None:
    """Raises NotWindows or NotInstalled where the COM interface cannot work."""
    try:
        import photoshop.api  # noqa: F401, PLC0415
    except ImportError as error:
        raise (NotInstalled() if sys.platform == "win32" else NotWindows()) from error


@contextmanager
def apartment() -> Iterator[None]:
    """A COM apartment for the calling thread."""
    import comtypes  # noqa: PLC0415

    comtypes.CoInitialize()
    try:
        yield
    finally:
        comtypes.CoUninitialize()


def connect() -> ScriptRunner:
    """The Application object of the running Photoshop. Raises CannotConnect."""
    from photoshop.api import Application  # noqa: PLC0415
    from photoshop.api.errors import PhotoshopPythonAPIError  # noqa: PLC0415

    class RunningApplication(Application):  # type: ignore[misc]
        """By itself the package takes, and so starts, the newest version installed; PS_VERSION overrides both."""

        def _get_photoshop_versions(self) -> list[str]:
            installed = super()._get_photoshop_versions()
            return [version for version in installed if _is_active(version)] or installed

    try:
        application: ScriptRunner = RunningApplication()
    except PhotoshopPythonAPIError as error:
        raise CannotConnect from error
    return application


def _is_active(version: str) -> bool:
    """Whether the running object table has a Photoshop of this version, such as "200"; "" is any."""
    from comtypes import COMError  # noqa: PLC0415
    from comtypes.client import GetActiveObject  # noqa: PLC0415

    try:
        GetActiveObject(f"Photoshop.Application.{version}".rstrip("."), dynamic=True)
    except (OSError, COMError):  # not there; or still there, of a process that has died
        return False
    return True


def is_running() -> bool:
    """Whether a Photoshop.exe is there."""
    from photoshop_plugin.host.processes import is_program_running  # noqa: PLC0415

    return is_program_running("Photoshop.exe")
