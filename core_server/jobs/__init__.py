"""Durable jobs: store, queue and supervision of the worker process. Knows tasks, not diffusers, not grpc."""
