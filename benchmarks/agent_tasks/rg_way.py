"""The reference: `rg` and `sed`, used by someone who knows the names in the question but not the answer.

Each category has its own sequence of commands. It depends on the question and on what earlier commands printed.
"""

import re
import shlex
from collections.abc import Generator, Iterable, Sequence
from dataclasses import dataclass

from benchmarks.agent_tasks.question import TaskQuestion, stem
from benchmarks.agent_tasks.scoring import SEPARATOR

Policy = Generator[str, str, None]
"""Yields shell commands and receives what each printed."""

LINES = 60
"""Lines kept of a search, as agents do with `head`."""
WINDOWS = 4
"""Places read with one call."""
BODY = 25
"""Lines of a definition that are printed with its head."""
FLAGS = "rg -nM200 --sort path"
DOCUMENTS = "-g '*.{md,rst,txt}'"
NO_DOCUMENTS = "-g '!{doc,docs,*.md,*.rst,*.txt}'"
TESTS = "-g '{*test*,test*/**}'"
NO_TESTS = "-g '!{test,tests,test_*,*.test.*,*_test.*}'"
CHANGELOGS = "-i --iglob '*{change,history,news,migrat,release,upgrad}*'"
KEYWORDS = "class|def|fn|func|function|struct|trait|interface|type|enum|const|let|var|#define"
MODIFIERS = r"(?:(?:export|pub(?:\([a-z]+\))?|async|static|default|abstract|private) )*"
HEAD = re.compile(rf"^\s*{MODIFIERS}(?:{KEYWORDS}) ?\w|^[A-Za-z_]\w*\(")
METHOD = r"^\s+(async |#)*\w+ ?(<.*>)?\(.*\{$"
HEAD_ABOVE = rf"^\s*{MODIFIERS}({KEYWORDS}) ?\w|^[A-Za-z_][^=;]*\(|{METHOD}"
NO_BRANCHES = r"rg -v ':\s+(if|for|while|switch|catch|return)\b'"
HIT = re.compile(r"^([^\s:][^:]*?)[:-](\d+)[:-](.*)$")
VERSION = r"^(\W*(version|release|what.s new)?\W*v?\d+\.\d+|#+ )"


@dataclass(frozen=True, slots=True)
class Hit:
    """A line that a search printed."""

    path: str
    number: int
    text: str


def search_with_rg(question: TaskQuestion) -> Policy:
    """Yield the commands for a question, by its category."""
    return POLICIES[question.category](question)


def find_definition(question: TaskQuestion) -> Policy:
    """Print the head and the beginning of the body of what is named, then further places."""
    output = yield _search(f"-A {BODY}", _definition_pattern(question.names), NO_TESTS, lines=2 * LINES)
    heads = [hit for hit in read_hits(output) if HEAD.search(hit.text)]
    yield from _read([Hit(hit.path, hit.number + BODY, hit.text) for hit in heads], before=0, after=60)
    output = yield _search("-w", _any_of(question.names), NO_DOCUMENTS)
    yield from _read(rank_hits(read_hits(output), question), before=5, after=40)


def find_callers(question: TaskQuestion) -> Policy:
    """Print every use of the name, then what is above each use, to learn the function around it."""
    output = yield _search("-w", _any_of(question.names), f"{NO_DOCUMENTS} {NO_TESTS}")
    sites = [hit for hit in read_hits(output) if not _is_definition_or_import(hit, question.names)]
    for start in range(0, len(sites), WINDOWS):
        yield SEPARATOR.join(_heads_above(site) for site in sites[start : start + WINDOWS])
    yield from _read(sites, before=40, after=2)


def find_implementers(question: TaskQuestion) -> Policy:
    """Print the classes whose head names the base, then every use of the name."""
    name = _any_of(question.names)
    heads = rf"class \w+.*[(:,< ]({name})\b|(extends|implements) .*\b({name})\b|impl\b.*\b({name})(<[^>]*>)? for\b"
    yield _search("", heads, NO_TESTS)
    output = yield _search("-w", name, NO_DOCUMENTS)
    yield from _read(rank_hits(read_hits(output), question), before=3, after=5)


def find_tests(question: TaskQuestion) -> Policy:
    """Print the tests whose name contains the words, then every use in tests, then what is above those."""
    wanted = [*question.names, *map(stem, question.words)]
    heads = shlex.quote(rf"(def |fn |function |test\(|it\(|describe\(|class ).*({_any_of(question.names or wanted)})")
    yield f"{FLAGS} -i {heads} | rg -i test | head -{LINES}"
    output = yield _search("-i", _any_of(question.names or wanted), TESTS)
    yield from _read(rank_hits(read_hits(output), question), before=20, after=5)


def find_setting(question: TaskQuestion) -> Policy:
    """Print the assignments of the name, then every use, then what is around them."""
    if not question.names:
        yield from find_by_words(question)
        return
    names = _any_of(question.names)
    output = yield _search("", rf"\b({names})\w*\b.*(=|:|\?\?|default)", f"{NO_DOCUMENTS} {NO_TESTS}")
    yield from _read(rank_hits(read_hits(output), question), before=5, after=15)
    yield from _follow(read_hits(output), question)
    output = yield _search("-i", names, "")
    yield from _read(rank_hits(read_hits(output), question), before=5, after=15)


def find_error(question: TaskQuestion) -> Policy:
    """Print the place of the message, what is around it, and the uses of a name that stands for it."""
    if not question.quoted:
        yield from find_by_words(question)
        return
    text = max(re.split(r"'\w+'|\W{2,}", question.quoted[0]), key=len).strip()
    output = yield f"{FLAGS} -F {shlex.quote(text)} {NO_DOCUMENTS} {NO_TESTS} | head -{LINES}"
    hits = read_hits(output)
    output = yield from _read(hits, before=12, after=6, limit=1)
    if codes := re.findall(r"\b[A-Z][A-Z0-9]*_[A-Z0-9_]+\b|\b[A-Z]\w+(?:Error|Exception|TooSmall|TooLarge)\b", output):
        output = yield _search("-w", _any_of(dict.fromkeys(codes)), f"{NO_DOCUMENTS} {NO_TESTS}")
        yield from _read(read_hits(output), before=10, after=3)
    words = text.split()
    for part in (words[:3], words[-2:]):
        output = yield f"{FLAGS} -F {shlex.quote(' '.join(part))} {NO_DOCUMENTS} {NO_TESTS} | head -{LINES}"
        yield from _read(read_hits(output), before=12, after=6, limit=1)


def find_place(question: TaskQuestion) -> Policy:
    """Look for the names, or for the words if there is no name, and read around the most promising lines."""
    if not question.names:
        yield from find_by_words(question)
        return
    yield _search(f"-A {BODY}", _definition_pattern(question.names), NO_TESTS, lines=2 * LINES)
    yield from find_by_words(question)


def find_flow(question: TaskQuestion) -> Policy:
    """Print every use of the names, read around the most promising of them and follow what is called there."""
    if not question.names:
        yield from find_by_words(question)
        return
    output = yield _search("-w", _any_of(question.names), f"{NO_DOCUMENTS} {NO_TESTS}")
    hits = rank_hits(read_hits(output), question)
    printed = yield from _read(hits, before=6, after=20, limit=1)
    yield from _follow([*hits, Hit("", 0, printed)], question, least=1)
    yield from _read(hits, before=6, after=20)
    yield from find_by_words(question)


def find_document(question: TaskQuestion) -> Policy:
    """Look for the words in documents, headings first."""
    wanted = [*question.names, *map(stem, question.words)]
    output = yield _search("-i", _pairs(wanted), DOCUMENTS)
    yield from _read(rank_hits(read_hits(output), question), before=3, after=25, limit=1)
    output = yield _search_best_files(wanted, DOCUMENTS)
    yield from _read(rank_hits(read_hits(output), question), before=3, after=25)


def find_change(question: TaskQuestion) -> Policy:
    """Look for the words in changelogs, then for the version above the entry."""
    wanted = [*question.names, *map(stem, question.words)]
    output = yield _search("", _any_of(question.names) or _pairs(wanted), CHANGELOGS, lines=LINES // 3)
    for hit in rank_hits(read_hits(output), question)[:2]:
        above = f"sed -n '1,{hit.number}p' {shlex.quote(hit.path)}"
        yield f"{above} | rg -n -i {shlex.quote(VERSION)} | tail -3"
    output = yield _search("", _any_of(wanted), CHANGELOGS)
    yield from _read(rank_hits(read_hits(output), question), before=30, after=3)


def find_by_words(question: TaskQuestion) -> Policy:
    """Look for neighbouring words, then for files with several of the words, and read around the densest lines."""
    wanted = [*question.names, *map(stem, question.words)]
    output = yield _search("-i", _pairs(wanted), f"{NO_DOCUMENTS} {NO_TESTS}")
    yield from _read(rank_hits(read_hits(output), question), before=5, after=20, limit=1)
    yield from _follow(read_hits(output), question)
    output = yield _search_best_files(wanted, f"{NO_DOCUMENTS} {NO_TESTS}")
    yield from _follow(read_hits(output), question)
    yield from _read(rank_hits(read_hits(output), question), before=5, after=20)


POLICIES = {
    "definition": find_definition,
    "callers": find_callers,
    "implementers": find_implementers,
    "tests": find_tests,
    "configuration": find_setting,
    "error text": find_error,
    "where to add": find_place,
    "data flow": find_flow,
    "documentation": find_document,
    "changelog": find_change,
}


def read_hits(output: str) -> list[Hit]:
    """Return the lines that a search printed."""
    matches = map(HIT.match, output.splitlines())
    return [Hit(match[1], int(match[2]), match[3]) for match in matches if match]


def choose_windows(hits: Iterable[Hit], *, before: int, after: int) -> list[tuple[str, int, int]]:
    """Return path, first and last line around each hit; hits in a window that exists already add none."""
    windows: list[tuple[str, int, int]] = []
    for hit in hits:
        if not any(path == hit.path and first <= hit.number <= last for path, first, last in windows):
            windows.append((hit.path, max(1, hit.number - before), hit.number + after))
    return windows


def _read(hits: Sequence[Hit], *, before: int, after: int, limit: int = 9) -> Generator[str, str, str]:
    """Print what is around the hits, several places with one call; return all that was printed."""
    windows = choose_windows(hits, before=before, after=after)
    printed = ""
    for start in range(0, min(len(windows), limit * WINDOWS), WINDOWS):
        parts = [
            f"sed -n '{first},{last}p' {shlex.quote(path)}" for path, first, last in windows[start : start + WINDOWS]
        ]
        printed += yield SEPARATOR.join(parts)
    return printed


def _follow(hits: Sequence[Hit], question: TaskQuestion, *, least: int = 2) -> Policy:
    """Print the definition of the identifiers in the hits that consist of the most of the question's words."""
    best = choose_identifiers("\n".join(hit.text for hit in hits), question, least=least)[:2]
    if best:
        yield _search(
            f"-A {BODY // 2}", rf"({_any_of(best)})\b *(=|:|\()|\b({KEYWORDS}) +({_any_of(best)})\b", NO_DOCUMENTS
        )


def choose_identifiers(printed: str, question: TaskQuestion, *, least: int = 2) -> list[str]:
    """Return identifiers in printed text that consist of at least so many of the question's words, best first."""
    wanted = [word.lower() for word in (*question.names, *map(stem, question.words))]
    identifiers = dict.fromkeys(re.findall(r"[A-Za-z_]\w{5,}", printed))
    counts = {each: sum(word in each.lower() for word in wanted) for each in identifiers if each not in question.names}
    return sorted((each for each in counts if counts[each] >= least), key=lambda each: -counts[each])


def _heads_above(hit: Hit) -> str:
    """Return a command that prints the heads of the nearest definitions above a line."""
    return (
        f"sed -n '1,{hit.number}p' {shlex.quote(hit.path)} | rg -n {shlex.quote(HEAD_ABOVE)} | {NO_BRANCHES} | tail -3"
    )


def _search(options: str, pattern: str, globs: str, *, lines: int = LINES) -> str:
    words = [FLAGS, options, "-e", shlex.quote(pattern), globs, "| head", f"-{lines}"]
    return " ".join(filter(None, words))


def _any_of(words: Iterable[str]) -> str:
    return "|".join(re.escape(word).replace(r"\ ", " ").replace(r"\-", "-") for word in words)


def _definition_pattern(names: Sequence[str]) -> str:
    name = _any_of(name.rpartition(".")[2] for name in names)
    return rf"\b({KEYWORDS}) +({name})\b|^({name})\(|^[A-Za-z_].*[ *&:]({name})\([^;]*$|^\s+({name})\(.*\{{$"


def _pairs(words: Sequence[str]) -> str:
    """Return a pattern for two neighbouring words, written apart or as one identifier."""
    if len(words) <= 1:
        return _any_of(words)
    both = zip(words, words[1:], strict=False)
    return "|".join(rf"{re.escape(one)}\w*\W{{0,3}}(\w+\W+)?\w*{re.escape(two)}" for one, two in both)


def _search_best_files(words: Sequence[str], globs: str) -> str:
    """Return a command that looks for words in the files that contain the most of them."""
    each = " ".join(map(shlex.quote, words))
    files = (
        f"for w in {each}; do rg -li -- \"$w\" {globs}; done | sort | uniq -c | sort -rn | head -4 | awk '{{print $2}}'"
    )
    return f"{files} | xargs -r {FLAGS} -i -m 15 -e {shlex.quote(_any_of(words))} /dev/null | head -{LINES}"


def rank_hits(hits: Sequence[Hit], question: TaskQuestion) -> list[Hit]:
    """Return hits with the most promising first: many of the question's words, heads of definitions, assignments."""
    wanted = [word.lower() for word in (*question.names, *map(stem, question.words))]

    def promise(hit: Hit) -> float:
        text = f"{hit.path} {hit.text}".lower()
        weak = hit.text.strip().startswith(("import ", "from ", "#include", "use "))
        return sum(word in text for word in wanted) + bool(HEAD.search(hit.text)) + ("=" in hit.text) / 2 - 2 * weak

    return sorted(hits, key=promise, reverse=True)


def _is_definition_or_import(hit: Hit, names: Sequence[str]) -> bool:
    text = hit.text.strip()
    defines = re.search(rf"\b({KEYWORDS}) +({_any_of(names)})\b", text)
    return bool(defines) or text.startswith(("import ", "from ", "use ", "#", "//", "*", "extern "))
