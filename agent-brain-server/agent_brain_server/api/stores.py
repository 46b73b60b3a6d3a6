"""Opens the three stores of a project, each where it lies and with what the settings say."""

import logging
import time
from contextlib import ExitStack
from pathlib import Path

from agent_brain_server.config.settings import ProjectConfig
from agent_brain_server.embedding.named import identify_model
from agent_brain_server.errors import StoreError
from agent_brain_server.indexing.bm25_index import BM25IndexManager
from agent_brain_server.storage.document_store import DocumentStore
from agent_brain_server.storage.vector_store import VectorStoreManager
from agent_brain_server.storage_paths import StoragePaths
from agent_brain_server.types import ChromaServer

logger = logging.getLogger(__name__)

REBUILDABLE = frozenset({"store_damaged", "store_version"})
"""Codes of a document store that can be made again from the tree."""


def open_stores(
    paths: StoragePaths, settings: ProjectConfig, closers: ExitStack
) -> tuple[DocumentStore, BM25IndexManager, VectorStoreManager]:
    """Open the three stores of a project; the indexes are not yet made to agree with the documents.

    Args:
        paths: Where they lie.
        settings: Name the model that the vectors are made with, and the Chroma server if there is one.
        closers: Closes what was opened.

    Raises:
        StoreError: A store can't be opened.
    """
    model = identify_model(settings.embedding_model)
    documents = open_documents(paths["llamaindex"])
    closers.callback(documents.close)
    bm25 = BM25IndexManager(paths["bm25_index"])
    closers.callback(bm25.close)
    vectors = VectorStoreManager(
        paths["chroma_db"],
        dimension=model.dimension,
        model_name=model.name,
        store_id=documents.store_id,
        chroma_server=ChromaServer(settings.chroma_url, settings.chroma_token) if settings.chroma_url else None,
    )
    closers.callback(vectors.close)
    return documents, bm25, vectors


def open_documents(directory: Path) -> DocumentStore:
    """Open the document store; a damaged one is set aside and an empty one takes its place.

    Raises:
        StoreError: The disk is full or read-only, where another file would not help.
    """
    try:
        return DocumentStore(directory)
    except StoreError as error:
        if error.code not in REBUILDABLE:
            raise
        aside = directory.with_name(f"{directory.name}.{error.code}.{time.strftime('%Y%m%dT%H%M%S')}")
        logger.exception("the document store is set aside as %s: index again", aside)
        directory.rename(aside)
        return DocumentStore(directory)
