"""What libraries would report to their makers, turned off before they are loaded: nothing leaves this machine."""

import os

SWITCHES = {
    # ONNX Runtime, from 1.29 on: else it keeps a device id under the user's cache directory and sends events from a
    # thread of its own. Only the environment stops it before the first; it is read once, when the library is loaded.
    "ORT_DISABLE_TELEMETRY": "1",
    # Chroma's: each client is told by its settings too.
    "ANONYMIZED_TELEMETRY": "False",
}
"""Environment variables with the value that turns a library's reports off."""


def disable_telemetry() -> None:
    """Turn reports off in this process and in those that it starts, whatever the environment said before."""
    os.environ.update(SWITCHES)
