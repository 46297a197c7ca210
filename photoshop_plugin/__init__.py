"""Scumble for Photoshop: the companion panel and command line on photoshop-python-api."""
