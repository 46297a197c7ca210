"""What `scumble bench` measures: one file a suite, each `run(setting) -> Report`.

Figures of one run are compared with each other; seconds of two machines are not.
"""
