"""Geometry and pixels, in pure numpy: from a selection to a patch, and back. No torch, no grpc, no files."""
