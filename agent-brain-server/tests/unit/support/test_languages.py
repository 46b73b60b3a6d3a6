"""Names and aliases of languages."""

import pytest

from agent_brain_server.support.languages import (
    LANGUAGE_ALIASES,
    LANGUAGES,
    list_languages,
    resolve_language,
    suggest_language,
)

ALIASES = {
    "py": "python", "golang": "go", "ts": "typescript", "tsx": "typescript", "js": "javascript", "c++": "cpp",
    "cxx": "cpp", "c#": "csharp", "cs": "csharp", "rs": "rust", "rb": "ruby", "kt": "kotlin", "sh": "shell",
    "bash": "shell", "md": "markdown", "yml": "yaml", "hs": "haskell", "objective-c": "objectivec", ".py": "python",
    "Python": "python", " go ": "go", "docker": "dockerfile",
}  # fmt: skip


@pytest.mark.parametrize(("alias", "language"), ALIASES.items())
def test_resolve_language_common_aliases(alias: str, language: str) -> None:
    assert resolve_language(alias) == language


def test_resolve_language_returns_each_name_itself() -> None:
    assert {resolve_language(name) for name in LANGUAGES} == LANGUAGES
    assert set(LANGUAGE_ALIASES.values()) == LANGUAGES


@pytest.mark.parametrize("name", ["", "cobol", "pyhton", "\udcff", "c+"])
def test_resolve_language_unknown_name_returns_none(name: str) -> None:
    assert resolve_language(name) is None


def test_suggest_language_returns_nearest() -> None:
    assert suggest_language("pyhton") == "python"
    assert suggest_language("qqqqqq") is None


def test_list_languages_is_sorted() -> None:
    assert list_languages().split(", ") == sorted(LANGUAGES)
