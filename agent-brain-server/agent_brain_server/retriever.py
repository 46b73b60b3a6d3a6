"""Agent Brain as a retriever of LlamaIndex, for programs that are built on it.

Example:
    nodes = AgentBrainRetriever(Path.cwd(), top_k=5).retrieve("where is the lock released?")
"""

from pathlib import Path
from typing import Any

from llama_index.core.base.base_retriever import BaseRetriever
from llama_index.core.schema import NodeWithScore, QueryBundle, TextNode

from agent_brain_server.discovery import discover_or_start, request_json
from agent_brain_server.project_root import resolve_project_root


class AgentBrainRetriever(BaseRetriever):
    """Finds the chunks of a project that fit a question, through its server, which is started where none runs.

    Args:
        project: Any path in the project.
        top_k: How many chunks to return.
        options: Further fields of `POST /query`: `mode`, `alpha`, `languages`, `source_types`, `file_paths`, …
    """

    def __init__(self, project: Path, *, top_k: int = 10, **options: Any) -> None:  # noqa: ANN401 - fields of a model
        super().__init__()
        self._root = resolve_project_root(project)
        self._fields = {"top_k": top_k, **options}

    def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        """Ask the server; the nodes carry path, lines, language and symbols as metadata.

        Raises:
            AgentBrainError: The server can't be started, or refuses the question.
        """
        server = discover_or_start(self._root)
        answer = request_json(server, "POST", "/query", {"query": query_bundle.query_str, **self._fields})
        return [_node_of(result) for result in answer["results"]]


def _node_of(result: dict[str, Any]) -> NodeWithScore:
    described = ("source", "start_line", "end_line", "language", "source_type", "symbols", "heading")
    metadata = {name: result[name] for name in described}
    return NodeWithScore(
        node=TextNode(id_=result["chunk_id"], text=result["text"], metadata=metadata), score=result["score"]
    )
