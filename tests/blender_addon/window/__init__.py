"""The add-on in a real Blender window, driven by mouse and keyboard under a virtual X server. See README.md."""
