"""The edge to Blender: the only room that reads or writes its data. Main thread only."""
