"""Sizes of the installed packages, without those that only tests and checks need."""

import re
from dataclasses import dataclass
from importlib.metadata import Distribution, distribution
from pathlib import Path

from benchmarks.processes import MEGABYTE

LOCK = Path(__file__).parents[1] / "requirements" / "run.lock"

PURPOSES = {
    "agent-brain-server": "the product: code and the embedding model",
    "chromadb": "the optional vector engine",
    "chromadb-rust-bindings": "the optional vector engine",
    "cryptography": "required by a dependency of chromadb",
    "fonttools": "required by a dependency",
    "go-task-bin": "the task runner of this repository; not installed by pip",
    "grpcio": "required by chromadb, which imports it for its telemetry",
    "hf-xet": "required by tokenizers for downloads; never imported here",
    "kubernetes": "required by chromadb for its distributed form; never imported here",
    "llama-index-core": "node parsers for long documents, and the embedding interface",
    "networkx": "required by llama-index-core; never imported here",
    "nltk": "required by llama-index-core: its sentence tokenizer",
    "numpy": "vectors in memory",
    "onnxruntime": "runs the embedding model",
    "pillow": "required by llama-index-core, which imports it in the indexing worker",
    "pip": "part of every virtual environment",
    "pygments": "required by rich: colours of the command's results",
    "sqlalchemy": "required by llama-index-core, which imports it in the indexing worker",
    "sympy": "required by onnxruntime's tools; never imported here",
    "tantivy": "the keyword index",
    "tiktoken": "required by llama-index-core; never imported here",
    "tokenizers": "the embedding model's tokenizer",
    "uvloop": "the server's event loop",
}


@dataclass(frozen=True, slots=True)
class Package:
    """One installed package, with its megabytes on disk and its purpose."""

    name: str
    megabytes: float
    purpose: str


def list_packages() -> list[Package]:
    """Return the installed packages of run.lock, largest first."""
    names = set(re.findall(r"^([a-z0-9._-]+)==", LOCK.read_text(), flags=re.MULTILINE))
    names |= {"agent-brain-server", "agent-brain-cli", "pip"}
    packages = [_package(name) for name in names if _is_installed(name)]
    return sorted(packages, key=lambda package: -package.megabytes)


def _is_installed(name: str) -> bool:
    return next(iter(Distribution.discover(name=name)), None) is not None


def _package(name: str) -> Package:
    paths = [Path(str(file.locate())) for file in distribution(name).files or ()]
    if name.startswith("agent-brain-"):  # installed editable: the files are in the repository
        source = LOCK.parents[1] / name / name.replace("-", "_")
        paths = [path for path in source.rglob("*") if "__pycache__" not in path.parts]
    size = sum(path.stat().st_size for path in paths if path.is_file())
    purpose = PURPOSES.get(name) or (f"syntax of {name[12:]}" if name.startswith("tree-sitter-") else "")
    return Package(name, size / MEGABYTE, purpose)
