"""GIMP reads in batch the PSD files that we write: a second judge of layers, places and masks that is not ours.

    apt-get install --no-install-recommends gimp
    pytest tests/photoshop_plugin/gimp

Without GIMP 2.10 the tests are skipped.
"""
