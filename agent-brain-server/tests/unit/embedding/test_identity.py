import subprocess
import sys

import pytest

from agent_brain_server.embedding import DEFAULT_MODEL
from agent_brain_server.embedding.embedders import identify_model
from agent_brain_server.embedding.onnx_model import OnnxEmbedder
from agent_brain_server.errors import ConfigError


def test_identify_model_equals_open_model():
    embedder = OnnxEmbedder()
    identity = identify_model(DEFAULT_MODEL)
    assert (identity.name, identity.dimension) == (embedder.name, embedder.dimension)


def test_identify_model_unknown_name_raises():
    with pytest.raises(ConfigError, match="word2vec"):
        identify_model("word2vec")


@pytest.mark.process
def test_identify_model_loads_no_runtime():
    code = (
        "import sys; from agent_brain_server.embedding.embedders import identify_model;"
        f"identify_model({DEFAULT_MODEL!r}); print('onnxruntime' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"
