"""Disable the telemetry of libraries before they are loaded."""

import os

SWITCHES = {
    # ONNX Runtime from 1.29 stores a device id in the user's cache directory and sends events from a background thread.
    # It reads this variable once, when the library is loaded.
    "ORT_DISABLE_TELEMETRY": "1",
    # Chroma; its clients are configured without telemetry as well.
    "ANONYMIZED_TELEMETRY": "False",
}
"""Environment variables and the values that disable a library's telemetry."""


def disable_telemetry() -> None:
    """Disable telemetry in this process and its children, overriding the environment."""
    os.environ.update(SWITCHES)
