"""Texts to vectors."""

from agent_brain_server.support.telemetry import disable_telemetry

DEFAULT_MODEL = "all-MiniLM-L6-v2"
"""Ships inside the package; everything else is an integration that has to be installed."""

disable_telemetry()  # here, as this is loaded before any embedder, whoever uses one
