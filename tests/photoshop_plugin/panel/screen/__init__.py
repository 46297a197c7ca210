"""The panel in a real X window, clicked and typed into from outside by xdotool.

    apt-get install --no-install-recommends xvfb openbox xdotool libxcb-cursor0 libxcb-icccm4 libxcb-keysyms1
    pytest tests/photoshop_plugin/panel/screen

Skipped where one of them is missing. `program` is the panel in a process of its own, before the in-memory Photoshop and
a scripted server; it writes down where its widgets are and what they say.
"""
