"""Agent Brain as a LlamaIndex retriever.

Example:
    nodes = AgentBrainRetriever(Path.cwd(), top_k=5).retrieve("where is the lock released?")
"""

from pathlib import Path
from typing import Any

from llama_index.core.base.base_retriever import BaseRetriever
from llama_index.core.schema import NodeWithScore, QueryBundle, TextNode

from agent_brain_server.client import AgentBrain, AsyncAgentBrain
from agent_brain_server.client.blocking import FIRST_INDEX_TIMEOUT_S
from agent_brain_server.models.query import QueryResult
from agent_brain_server.project_root import locate_project, make_too_wide_error

DESCRIBED = frozenset({"source", "start_line", "end_line", "language", "source_type", "symbols", "heading"})


class AgentBrainRetriever(BaseRetriever):
    """Retrieve the chunks of a project that answer a query, from its own server or the shared daemon.

    The server is started if none runs, and a project that was never indexed is indexed first.

    Args:
        project: Any path in the project.
        top_k: Number of chunks to return.
        index_timeout_s: Longest wait for the first index, in seconds.
        options: Further fields of `POST /query`: `mode`, `alpha`, `languages`, `source_types`, `file_paths`, …

    Raises:
        ConfigError: The path is in no project, and is `/`, the home directory or one above it.
    """

    def __init__(
        self,
        project: Path,
        *,
        top_k: int = 10,
        index_timeout_s: float = FIRST_INDEX_TIMEOUT_S,
        **options: Any,  # noqa: ANN401 - fields of a model
    ) -> None:
        super().__init__()
        self._project = locate_project(project)
        if self._project.is_too_wide:
            raise make_too_wide_error(self._project.root)
        self._index_timeout_s = index_timeout_s
        self._fields = {"top_k": top_k, **options}

    def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        """Query the server; nodes have path, lines, language and symbols as metadata.

        Raises:
            AgentBrainError: The server cannot be started or refuses the query, or the first index failed.
        """
        with AgentBrain(self._project, index_timeout_s=self._index_timeout_s) as brain:
            return [_node_of(result) for result in brain.query(query_bundle.query_str, **self._fields).results]

    async def _aretrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        """As `_retrieve`, without blocking the event loop."""
        async with AsyncAgentBrain(self._project, index_timeout_s=self._index_timeout_s) as brain:
            answer = await brain.query(query_bundle.query_str, **self._fields)
        return [_node_of(result) for result in answer.results]


def _node_of(result: QueryResult) -> NodeWithScore:
    node = TextNode(id_=result.chunk_id, text=result.text, metadata=result.model_dump(include=set(DESCRIBED)))
    return NodeWithScore(node=node, score=result.score)
