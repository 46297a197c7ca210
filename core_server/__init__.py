"""The Scumble server: a gateway process without torch, and a worker process that owns the device.

Rooms, and the only direction imports may take (checked by import-linter):
`errors, config, canvas <- pipelines <- jobs <- rpc <- cli`.
"""

__version__ = "0.1.0"
