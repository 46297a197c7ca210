"""Durable jobs: the store, the queue, and the supervision of the worker process. Knows tasks, not diffusers, not grpc."""
