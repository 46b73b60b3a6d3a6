"""Texts to vectors."""

from agent_brain_server.models import DEFAULT_MODEL
from agent_brain_server.support.telemetry import disable_telemetry

__all__ = ["DEFAULT_MODEL"]

disable_telemetry()  # here, as this is loaded before any embedder, whoever uses one
