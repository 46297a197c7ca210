"""The whole thing: real server processes, real pipelines, real clients."""
