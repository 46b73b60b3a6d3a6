"""Embedding models: the built-in ONNX model and LlamaIndex integrations."""

from agent_brain_server.support.telemetry import disable_telemetry

disable_telemetry()  # here, because this module is imported before any embedding library
