"""The commands of `scumble`, one file each.

Every module named in COMMANDS has `register(subparsers)`, which adds its arguments and sets `run(options) -> int`.
At the top they import nothing heavy: `scumble --help` is to be quick.
"""

COMMANDS = (
    "serve",
    "generate",
    "img2img",
    "live",
    "inpaint",
    "outpaint",
    "maps",
    "upscale",
    "models",
    "styles",
    "jobs",
    "bench",
    "demo",
    "doctor",
    "token",
    "pair",
    "addon",
)
"""In the order of the help."""
