"""What a file is, from its name and its first bytes: tables, and one function that reads them."""

import re
from pathlib import PurePosixPath

from agent_brain_server.support.languages import EXTENSION_LANGUAGES, NAME_LANGUAGES, PLAIN_TEXT, SHEBANG_LANGUAGES
from agent_brain_server.types import SkipReason, SourceType

DOCUMENT_LANGUAGES = frozenset(
    {PLAIN_TEXT, "markdown", "rst", "html", "asciidoc", "latex", "org", "notebook", "pdf"},
)
"""Languages that people write to be read as prose; all others are code."""

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
"""Formats that hold no text: left out by name, so that the walk need not open them; the loader catches the others."""

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
"""Lock files, lower case: long, written by tools, and no answer to any question about the project."""

UNWANTED_SUFFIXES: dict[str, SkipReason] = {
    **dict.fromkeys((".lock",), "generated"),
    **dict.fromkeys((".min.js", ".min.mjs", ".min.css", ".js.map", ".mjs.map", ".cjs.map", ".css.map"), "generated"),
    **dict.fromkeys((".svg",), "generated"),  # coordinates, written by a drawing program
    **dict.fromkeys((".dist-info/record", ".egg-info/sources.txt"), "generated"),
    **dict.fromkeys((".po", ".pot"), "translation"),
}
"""Ends of paths, lower case, to the reason why nobody wants to find the file.

Translations repeat the messages of the source, once for each language: more text than the source itself in a project
like Django (8.7 of 16 MB).
"""

UNWANTED_ENDS = tuple(UNWANTED_SUFFIXES)

TEST_DIRECTORIES = frozenset({"tests", "__tests__", "test", "spec", "specs", "testdata", "__mocks__", "e2e"})
"""A file below one of these is a test ..."""

LIBRARY_TEST_DIRECTORIES: dict[str, frozenset[str]] = {"python": frozenset({"test", "spec", "specs", "e2e"})}
"""... except in these languages, where such a package below the top is a library for tests (`django/test`)."""

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
"""File names that test runners collect, by the conventions of the languages."""

CPP_SIGNS = re.compile(
    rb"^[^\S\n]*(class|namespace|template\s*<|using\s|public:|private:|protected:)|\bstd::|#include <[a-z_]+>", re.M
)
"""What a header of C++ has and one of C has not; both are called `.h`."""

TEMPLATE_SIGNS = re.compile(rb"\{%|\{\{|<%|<\?php|<\?=|v-if=|th:[a-z]+=|\*ngIf")
"""HTML with these is a template: source code of a page, not a page."""

SHEBANG = re.compile(rb"#!\s*(\S+)(?:\s+(?:-\S+\s+)*(\S+))?")


def classify(path: str, head: bytes) -> tuple[str, SourceType]:
    """Tell a file's language and what it is for.

    Args:
        path: Relative to the project root, `/` separators.
        head: The first bytes, some thousands; may be empty.

    Returns:
        The lower-case name of the language, and doc, code or test.
    """
    language = detect_language(path, head)
    if language in DOCUMENT_LANGUAGES and not (language == "html" and TEMPLATE_SIGNS.search(head)):
        return language, "doc"
    return language, "test" if is_test(path, language) else "code"


def detect_language(path: str, head: bytes) -> str:
    """Tell a file's language from its name, else from its first line, else `text`."""
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
    """Tell whether a code file belongs to the tests, by where it lies and what it is called."""
    *directories, name = path.split("/")
    if TEST_NAME.fullmatch(name):
        return True
    library = LIBRARY_TEST_DIRECTORIES.get(language, frozenset())
    for depth, directory in enumerate(directories):
        lowered = directory.lower()
        if lowered in TEST_DIRECTORIES and (depth == 0 or lowered not in library):
            return True
    return False


def find_unwanted(path: str) -> SkipReason | None:
    """Say why a file is left out for its name alone: `binary`, `generated` or `translation`; None where it is not."""
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
