"""The gRPC face of the server: servicers, interceptors, status mapping. Importing it must not import torch."""
