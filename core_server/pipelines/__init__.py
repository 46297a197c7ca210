"""Diffusion: the only room of the server, with `training`, that imports torch and diffusers.

`request` and `task` are the room's counter: torch-free, and all that `jobs` and `rpc` may see.
"""
