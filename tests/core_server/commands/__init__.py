"""Tests of the `scumble` command."""
