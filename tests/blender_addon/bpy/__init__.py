"""The add-on inside a real Blender: run by `run_suite.py` in an environment of its own, not by the main suite."""
