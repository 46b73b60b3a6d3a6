"""Classify a file by its path and first bytes: language, source type, and files without useful text."""

import re
from pathlib import PurePosixPath

from agent_brain_server.support.languages import EXTENSION_LANGUAGES, NAME_LANGUAGES, PLAIN_TEXT, SHEBANG_LANGUAGES
from agent_brain_server.types import SkipReason, SourceType

DOCUMENT_LANGUAGES = frozenset(
    {PLAIN_TEXT, "markdown", "rst", "html", "asciidoc", "latex", "org", "notebook", "pdf"},
)
"""Languages of prose; all others are code."""

BINARY_EXTENSIONS = frozenset(
    re.findall(
        r"\w+",
        """
        png jpg jpeg gif bmp ico icns webp avif tif tiff psd heic mp3 mp4 m4a wav ogg flac avi mov mkv webm woff woff2
        ttf otf eot zip gz tgz bz2 xz zst 7z rar tar jar war whl egg deb rpm dmg iso exe dll so dylib a o obj lib pdb
        class pyc pyo pyd wasm mo gmo bin dat db sqlite sqlite3 npy npz pkl pickle pt pth onnx safetensors h5 parquet
        arrow feather doc docx xls xlsx ppt pptx odt keystore p12 der
        """,
    )
)
"""Extensions of formats without text, skipped by the walk; the loader recognizes other binary files by content."""

GENERATED_NAMES = frozenset(
    {
        "package-lock.json",
        "npm-shrinkwrap.json",
        "pnpm-lock.yaml",
        "packages.lock.json",
        "go.sum",
        "go.work.sum",
        "gradle.lockfile",
        "bun.lockb",
        "package.resolved",
    }
)
"""Names of lock files, lower case."""

UNWANTED_SUFFIXES: dict[str, SkipReason] = {
    **dict.fromkeys((".lock",), "generated"),
    **dict.fromkeys((".min.js", ".min.mjs", ".min.css", ".js.map", ".mjs.map", ".cjs.map", ".css.map"), "generated"),
    **dict.fromkeys((".svg",), "generated"),  # coordinates, exported by drawing programs
    **dict.fromkeys((".dist-info/record", ".egg-info/sources.txt"), "generated"),
    **dict.fromkeys((".po", ".pot"), "translation"),
}
"""Ends of paths, lower case, to the reason to skip the file.

Translations repeat the messages of the source in each language; in Django they are 8.7 of 16 MB of text.
"""

UNWANTED_ENDS = tuple(UNWANTED_SUFFIXES)

TEST_DIRECTORIES = frozenset({"tests", "__tests__", "test", "spec", "specs", "testdata", "testing", "__mocks__", "e2e"})
"""Directories of test files."""

LIBRARY_NAMES = frozenset({"testing"})
"""Names of `TEST_DIRECTORIES` that, below the top level, are libraries for tests (`numpy/testing`)."""

LIBRARY_TEST_DIRECTORIES: dict[str, frozenset[str]] = {"python": frozenset({"test", "spec", "specs", "e2e"})}
"""The same in one language (`django/test`)."""

TEST_NAME = re.compile(
    r"""
      test_[^/]*\.py | [^/]*_tests?\.(py|go|rb|exs|lua|c|cc|cpp|cxx|rs|dart|ml|zig|php|sh|clj) | tests?\.(py|rs|zig|lua)
    | conftest\.py
    | [^/]*[.-](test|tests|spec|e2e|cy)\.[cm]?[jt]sx?
    | [^/]*_spec\.(rb|lua|js|ts) | [^/]*_unittest\.(c|cc|cpp|cxx)
    | [^/]*\.bats
    | (?-i:[^/]*[a-z0-9](Test|Tests|TestCase|IT|Spec|Specs|Suite))\.(java|kt|kts|scala|groovy|cs|fs|php|swift|hs|cpp|m)
    | (?-i:Test[A-Z][^/]*)\.(java|kt|scala)
    """,
    re.IGNORECASE | re.VERBOSE,
)
"""File names that the test runners of common languages collect."""

CPP_SIGNS = re.compile(
    rb"^[^\S\n]*(class|namespace|template\s*<|using\s|public:|private:|protected:)|\bstd::|#include <[a-z_]+>", re.M
)
"""Syntax of C++ that distinguishes its headers from those of C; both have the extension `.h`."""

TEMPLATE_SIGNS = re.compile(rb"\{%|\{\{|<%|<\?php|<\?=|v-if=|th:[a-z]+=|\*ngIf")
"""Template syntax in HTML; such a file is code, not a document."""

SHEBANG = re.compile(rb"#!\s*(\S+)(?:\s+(?:-\S+\s+)*(\S+))?")


def classify(path: str, head: bytes) -> tuple[str, SourceType]:
    """Return the language and source type of a file.

    Args:
        path: Relative to the project root, with `/` separators.
        head: The first few thousand bytes; may be empty.

    Returns:
        Name of the language in lower case, and "doc", "code" or "test".
    """
    language = detect_language(path, head)
    if language in DOCUMENT_LANGUAGES and not (language == "html" and TEMPLATE_SIGNS.search(head)):
        return language, "doc"
    return language, "test" if is_test(path, language) else "code"


def detect_language(path: str, head: bytes) -> str:
    """Return a file's language by its name, or else its first line; `text` if unknown."""
    name = path.rpartition("/")[2].lower()
    stem, _, extension = name.rpartition(".")
    known = NAME_LANGUAGES.get(name) or (EXTENSION_LANGUAGES.get(extension) if stem else None)
    if known is None:
        if stem.startswith(("dockerfile", "makefile")) or name.startswith("dockerfile."):
            return "dockerfile" if name.startswith("docker") else "make"
        return _read_shebang(head) or PLAIN_TEXT
    if known == "c" and extension == "h" and CPP_SIGNS.search(head):
        return "cpp"
    return known


def _read_shebang(head: bytes) -> str | None:
    match = SHEBANG.match(head)
    if match is None:
        return None
    program = PurePosixPath(match[1].decode("ascii", "replace")).name
    if program == "env" and match[2]:
        program = match[2].decode("ascii", "replace")
    return SHEBANG_LANGUAGES.get(program.lower().rstrip("0123456789.")) or SHEBANG_LANGUAGES.get(program.lower())


def is_test(path: str, language: str) -> bool:
    """Return whether a code file is a test, by its directories and name."""
    *directories, name = path.split("/")
    if TEST_NAME.fullmatch(name):
        return True
    library = LIBRARY_NAMES | LIBRARY_TEST_DIRECTORIES.get(language, frozenset())
    for depth, directory in enumerate(directories):
        lowered = directory.lower()
        if lowered in TEST_DIRECTORIES and (depth == 0 or lowered not in library):
            return True
    return False


def find_unwanted(path: str) -> SkipReason | None:
    """Return the reason to skip a file because of its name, `binary`, `generated` or `translation`, or `None`."""
    lowered = path.lower()
    name = lowered.rpartition("/")[2]
    stem, _, extension = name.rpartition(".")
    if stem and extension in BINARY_EXTENSIONS:
        return "binary"
    if name in GENERATED_NAMES:
        return "generated"
    if not lowered.endswith(UNWANTED_ENDS):
        return None
    return next(reason for suffix, reason in UNWANTED_SUFFIXES.items() if lowered.endswith(suffix))
