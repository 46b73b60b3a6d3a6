"""Embed queries with the real model."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from agent_brain_server.config.settings import ProjectConfig
from agent_brain_server.errors import ConfigError
from agent_brain_server.services import query_service
from agent_brain_server.services.query_service import QueryEmbedder

MODEL = ProjectConfig().embedding_model


def test_embed_returns_similar_unit_vectors_for_similar_queries() -> None:
    embedder = QueryEmbedder(MODEL)
    close, near, far = map(embedder.embed, ("close the file", "shut the file handle", "bake a cake with plums"))
    assert np.linalg.norm(close) == pytest.approx(1, abs=1e-5)
    assert close @ near > close @ far + 0.2


def test_embed_weights_the_subject_line() -> None:
    embedder = QueryEmbedder(MODEL)
    title, text = (
        "The lock is lost after a restart",
        "Seen after the daemon was killed while it baked a cake with plums.",
    )
    both = embedder.embed(f"{title}\n\n{text}")
    assert np.linalg.norm(both) == pytest.approx(1, abs=1e-5)
    assert both @ embedder.embed(title) > embedder.embed(f"{title} {text}") @ embedder.embed(title)
    assert embedder.embed(f"\n{title}\n") @ embedder.embed(title) == pytest.approx(1, abs=1e-5)


def test_embed_caches_recent_queries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(query_service, "CACHED_QUERIES", 2)
    embedder = QueryEmbedder(MODEL)
    first = embedder.embed("one")
    second = embedder.embed("two")
    assert embedder.embed("one") is first
    embedder.embed("three")
    assert embedder.embed("one") is first
    assert embedder.embed("two") is not second


def test_open_loads_one_model_for_all_threads() -> None:
    embedder = QueryEmbedder(MODEL)
    with ThreadPoolExecutor(8) as threads:
        opened = {id(model) for model in threads.map(lambda _: embedder.open(), range(16))}
    assert len(opened) == 1


def test_embed_with_unknown_model_raises_config_error() -> None:
    with pytest.raises(ConfigError):
        QueryEmbedder("unknown:model").embed("x")
