"""Talks to the server. Knows no bpy: everything here runs, and is tested, without Blender.

Network, image encoding and the import of grpc happen on daemon threads; the main thread takes events from a queue.
"""
