"""Tree-sitter grammars, each from its own wheel, loaded by the first file that needs it."""

import importlib
from functools import cache

from tree_sitter import Language

GRAMMARS: dict[str, tuple[str, str]] = {
    "c": ("tree_sitter_c", "language"),
    "cpp": ("tree_sitter_cpp", "language"),
    "csharp": ("tree_sitter_c_sharp", "language"),
    "elixir": ("tree_sitter_elixir", "language"),
    "go": ("tree_sitter_go", "language"),
    "haskell": ("tree_sitter_haskell", "language"),
    "java": ("tree_sitter_java", "language"),
    "javascript": ("tree_sitter_javascript", "language"),
    "kotlin": ("tree_sitter_kotlin", "language"),
    "lua": ("tree_sitter_lua", "language"),
    "php": ("tree_sitter_php", "language_php"),
    "python": ("tree_sitter_python", "language"),
    "ruby": ("tree_sitter_ruby", "language"),
    "rust": ("tree_sitter_rust", "language"),
    "scala": ("tree_sitter_scala", "language"),
    "shell": ("tree_sitter_bash", "language"),
    "swift": ("tree_sitter_swift", "language"),
    "tsx": ("tree_sitter_typescript", "language_tsx"),
    "typescript": ("tree_sitter_typescript", "language_typescript"),
    "zig": ("tree_sitter_zig", "language"),
}
"""Grammar to the module that carries it and the function that returns it."""


def has_grammar(language: str) -> bool:
    """Tell whether files of the language are cut by syntax."""
    return language in GRAMMARS


def grammar_name(language: str, path: str) -> str:
    """Name the grammar of a file: that of its language, but TypeScript with markup in it has one of its own."""
    return "tsx" if language == "typescript" and path.lower().endswith(".tsx") else language


@cache
def load_grammar(name: str) -> Language:
    """Load a grammar of `GRAMMARS`, once per process."""
    module, function = GRAMMARS[name]
    return Language(getattr(importlib.import_module(module), function)())
