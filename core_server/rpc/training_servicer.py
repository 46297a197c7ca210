"""TrainingService: part of the contract, not of this version."""

from __future__ import annotations

from core_server.errors import NotImplementedHere
from core_server.rpc.calls import Context
from scumble.v1 import training_service_pb2 as messages
from scumble.v1.training_service_pb2_grpc import TrainingServiceServicer


class TrainingServicer(TrainingServiceServicer):
    """Says so."""

    async def CreateTraining(
        self,
        request: messages.CreateTrainingRequest,
        context: Context,
    ) -> messages.CreateTrainingResponse:
        raise NotImplementedHere("This version of the server cannot train adapters.")
