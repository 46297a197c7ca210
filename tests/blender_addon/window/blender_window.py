"""Opens the Blender window inside a bpy wheel and runs a start-up script in it: blender_window.py SCRIPT.

The wheel holds all of Blender, its X11 window system included. `main_python_enter`, which `import bpy` calls, only
stores `G.background = 1` before it initialises Blender. This loads the library first, clears that byte in the
machine code in memory (the file stays as it is), imports bpy, runs the script and enters the main loop.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import struct
import sys
import sysconfig
from pathlib import Path

# Mangled names by meaning; from 5.1 on they stand in a namespace.
NAMES = {
    b"_Z17main_python_enteriPPKc": "enter",
    b"_ZN7blender17main_python_enterEiPPKc": "enter",
    b"_Z7WM_mainP8bContext": "main",
    b"_ZN7blender7WM_mainEPNS_8bContextE": "main",
    b"BPY_context_get": "context",
    b"_Z15BPY_context_getv": "context",
    b"_ZN7blender15BPY_context_getEv": "context",
}
SYMBOL_TABLE = 2
WRITABLE, EXECUTABLE = 7, 5


def symbols(path: Path) -> dict[str, tuple[int, int]]:
    """Address and size of each wanted function, from the ELF symbol table."""
    found: dict[str, tuple[int, int]] = {}
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        (table,) = struct.unpack_from("<Q", data, 0x28)
        size, count = struct.unpack_from("<HH", data, 0x3A)
        sections = [struct.unpack_from("<IIQQQQIIQQ", data, table + i * size) for i in range(count)]
        for section in sections:
            if section[1] != SYMBOL_TABLE:
                continue
            strings = sections[section[6]]
            names = data[strings[4] : strings[4] + strings[5]]
            offsets = {
                at + 1: meaning
                for name, meaning in NAMES.items()
                if (at := names.find(b"\0" + name + b"\0")) >= 0
            }
            for entry in range(section[4], section[4] + section[5], 24):
                name, _, _, defined, address, length = struct.unpack_from("<IBBHQQ", data, entry)
                if name in offsets and defined:
                    found[offsets[name]] = (address, length)
    return found


def show_window(path: Path, enter: tuple[int, int]) -> int:
    """Clears the stored "background" byte; returns the library's base address."""
    ctypes.CDLL(str(path), mode=os.RTLD_NOW | os.RTLD_GLOBAL)
    lines = Path("/proc/self/maps").read_text().splitlines()
    base = next(
        int(line.split("-")[0], 16)
        for line in lines
        if line.endswith(str(path.resolve())) and line.split()[2] == "00000000"
    )
    start, size = enter
    code = ctypes.string_at(base + start, size)
    # mov byte ptr [register + displacement], 1: first for factory_startup, then for background
    stores = [
        i
        for i in range(size - 6)
        if code[i] == 0xC6 and 0x80 <= code[i + 1] <= 0x87 and code[i + 6] == 1
    ]
    if len(stores) != 2:
        raise SystemExit(f"This wheel's start-up code looks different: {len(stores)} stores.")
    byte = base + start + stores[1] + 6
    page = ctypes.c_void_p(byte & ~0xFFF)
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mprotect(page, ctypes.c_size_t(0x2000), WRITABLE):
        raise OSError(ctypes.get_errno(), "mprotect")
    ctypes.c_ubyte.from_address(byte).value = 0
    libc.mprotect(page, ctypes.c_size_t(0x2000), EXECUTABLE)
    return base


def main(script: Path) -> None:
    """Does not return: Blender ends the process."""
    folder = Path(sysconfig.get_paths()["platlib"]) / "bpy"
    library = next(path for path in folder.iterdir() if path.suffix == ".so")
    found = symbols(library)
    base = show_window(library, found["enter"])
    import bpy  # noqa: PLC0415 - not before its window is shown

    if bpy.app.background:
        raise SystemExit("The window did not open.")
    exec(compile(script.read_text(), str(script), "exec"), {"__file__": str(script)})
    context = ctypes.CFUNCTYPE(ctypes.c_void_p)(base + found["context"][0])()
    ctypes.CFUNCTYPE(None, ctypes.c_void_p)(base + found["main"][0])(context)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
