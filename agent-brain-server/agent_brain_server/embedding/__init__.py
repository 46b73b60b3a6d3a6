"""Embedding models: the built-in ONNX model and LlamaIndex integrations."""

from agent_brain_server.support.telemetry import disable_telemetry

DEFAULT_MODEL = "all-MiniLM-L6-v2"
"""The built-in model. All other models need a LlamaIndex integration that the user installs."""

disable_telemetry()  # here, because this module is imported before any embedding library
