"""Scumble for Blender."""
