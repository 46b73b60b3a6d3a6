import subprocess
import sys

import pytest

from agent_brain_server.embedding.embedders import DEFAULT_MODEL, INTEGRATIONS, open_embedder
from agent_brain_server.errors import ConfigError

HEAVY = {"onnxruntime", "tokenizers", "llama_index", "chromadb", "torch"}


def test_open_embedder_default_is_built_in():
    embedder = open_embedder(DEFAULT_MODEL, threads=2)
    assert embedder.name.startswith(DEFAULT_MODEL)
    assert embedder.embed(["lock", "key"]).shape == (2, embedder.dimension)


@pytest.mark.parametrize("prefix", INTEGRATIONS)
def test_open_embedder_missing_integration_names_package(prefix):
    with pytest.raises(ConfigError, match=f"{prefix}:some-model") as caught:
        open_embedder(f"{prefix}:some-model")
    assert f"pip install llama-index-embeddings-{prefix}" in caught.value.hint


@pytest.mark.parametrize("name", ["", "word2vec", "openai", "openai:", "cohere:x", ":x", "all-minilm-l6-v2"])
def test_open_embedder_unknown_name_lists_allowed(name):
    with pytest.raises(ConfigError, match="not known") as caught:
        open_embedder(name)
    assert DEFAULT_MODEL in caught.value.hint
    assert "ollama:NAME" in caught.value.hint


def test_open_embedder_integration_failure_raises(tmp_path, monkeypatch):
    package = tmp_path / "refusing_integration.py"
    package.write_text(
        "class OllamaEmbedding:\n    def __init__(self, model_name): raise RuntimeError('no ' + model_name)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    import refusing_integration

    monkeypatch.setitem(sys.modules, "llama_index.embeddings.ollama", refusing_integration)
    with pytest.raises(ConfigError, match="no nomic"):
        open_embedder("ollama:nomic")


@pytest.mark.process
@pytest.mark.parametrize("module", ["agent_brain_server.embedding", "agent_brain_server.embedding.embedders"])
def test_import_embedders_loads_no_runtime(module):
    code = f"import sys, {module}; print(*sorted({{name.split('.')[0] for name in sys.modules}}))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not HEAVY & set(loaded)
