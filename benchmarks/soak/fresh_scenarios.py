"""Scenarios of the freshness loop: each generator changes the tree and yields what queries must find afterwards."""

import os
import random
import shutil
import string
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

WORD_LETTERS = 14
BASE_FILES = 120
DIRECTORIES = 150  # that exist on one branch only
PACKAGES = 60  # directories that npm installs
GENERATED = 40


@dataclass(frozen=True, slots=True)
class Expectation:
    """A word, and the only file that must contain it (`None`: no file)."""

    word: str
    path: str | None


Steps = Iterator[Sequence[Expectation]]


class Tree:
    """A git repository of words, each in one file only.

    Args:
        root: An existing directory.
        chance: Source of the words and choices.
    """

    def __init__(self, root: Path, chance: random.Random) -> None:
        self.root = root
        self.chance = chance
        self.count = 0
        for number in range(BASE_FILES):
            self.write(f"src/part_{number % 12}/module_{number}.py")
        self.write_text(".gitignore", "ignored/\n*.cache\nnode_modules/\n")
        self.git("init", "-q", "-b", "main")
        self.commit("base")

    def new_name(self) -> str:
        """Return a name that was not used before."""
        self.count += 1
        return f"n{self.count}"

    def new_word(self) -> str:
        """Return a word that no file has."""
        return "".join(self.chance.choices(string.ascii_lowercase, k=WORD_LETTERS))

    def write(self, path: str, word: str | None = None) -> str:
        """Write a source file with one new word; return the word."""
        word = word or self.new_word()
        self.write_text(path, self.source(word))
        return word

    def source(self, word: str) -> str:
        """Return the text of a source file of constant length."""
        return f"def {word}(value):\n    return value + {self.chance.randint(100, 999)}\n"

    def write_text(self, path: str, text: str) -> None:
        """Write a file, with its directories."""
        target = self.root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)

    def git(self, *arguments: str) -> None:
        """Run git in the repository."""
        identity = ["-c", "user.name=soak", "-c", "user.email=soak@localhost", "-c", "protocol.file.allow=always"]
        subprocess.run(["git", *identity, *arguments], cwd=self.root, check=True, capture_output=True)

    def commit(self, message: str) -> None:
        """Commit everything that is not ignored."""
        self.git("add", "-A")
        self.git("commit", "-q", "--allow-empty", "-m", message)

    def pick(self) -> str:
        """Return one of the base files."""
        number = self.chance.randrange(BASE_FILES)
        return f"src/part_{number % 12}/module_{number}.py"


def found(word: str, path: str) -> Expectation:
    """Expect a word in a file."""
    return Expectation(word, path)


def absent(word: str) -> Expectation:
    """Expect a word nowhere."""
    return Expectation(word, None)


def save_in_place(tree: Tree) -> Steps:
    """Overwrite a file several times with content of the same size."""
    path, before = tree.pick(), None
    for _ in range(4):
        word = tree.write(path)
        yield [found(word, path), *([absent(before)] if before else [])]
        before = word


def save_by_rename(tree: Tree) -> Steps:
    """Save as atomic writers do: another file, renamed over the old one."""
    path, word = tree.pick(), tree.new_word()
    temporary = tree.root / f"{path}.tmp~"
    temporary.write_text(tree.source(word))
    os.replace(temporary, tree.root / path)
    yield [found(word, path)]


def save_with_backup(tree: Tree) -> Steps:
    """Save as vim does: the old file becomes the backup, which is removed."""
    path, word = tree.pick(), tree.new_word()
    backup = tree.root / f"{path}~"
    os.rename(tree.root / path, backup)
    tree.write(path, word)
    backup.unlink()
    yield [found(word, path)]


def append_and_hold_open(tree: Tree) -> Steps:
    """Write through a descriptor that stays open."""
    path = f"src/held_{tree.new_name()}.py"
    with (tree.root / path).open("w") as file:
        for _ in range(3):
            word = tree.new_word()
            file.write(tree.source(word))
            file.flush()
            yield [found(word, path)]
    (tree.root / path).unlink()


def truncate_then_write(tree: Tree) -> Steps:
    """Empty a file, then write it."""
    path, word = tree.pick(), tree.new_word()
    before = tree.write(path)
    (tree.root / path).write_text("")
    yield [absent(before)]
    tree.write(path, word)
    yield [found(word, path)]


def two_saves_in_one_tick(tree: Tree) -> Steps:
    """Save twice at once with the same size: size and modification time may not differ."""
    path = tree.pick()
    before, word = tree.write(path), tree.new_word()
    tree.write(path, word)
    yield [found(word, path), absent(before)]


def keep_times(tree: Tree) -> Steps:
    """Replace a file by one of the same size and modification time, as `cp -p` and `rsync -t` can."""
    path, word = tree.pick(), tree.new_word()
    before = tree.write(path)
    yield [found(before, path)]
    old = (tree.root / path).stat()
    copy = tree.root / f"{path}.copy"
    copy.write_text(tree.source(word))
    os.utime(copy, ns=(old.st_atime_ns, old.st_mtime_ns))
    os.replace(copy, tree.root / path)
    yield [found(word, path), absent(before)]


def create_and_delete(tree: Tree) -> Steps:
    """Create a file, rename it, delete it."""
    name = tree.new_name()
    path, moved = f"src/part_1/{name}.py", f"src/part_2/{name}.py"
    word = tree.write(path)
    yield [found(word, path)]
    os.rename(tree.root / path, tree.root / moved)
    yield [found(word, moved)]
    (tree.root / moved).unlink()
    yield [absent(word)]


def directory_then_file(tree: Tree) -> Steps:
    """Create a directory, and a file in it later; then delete the only file, and write another."""
    directory = f"lib/{tree.new_name()}/deep/er"
    (tree.root / directory).mkdir(parents=True)
    time.sleep(tree.chance.uniform(0, 0.3))
    word = tree.write(f"{directory}/first.py")
    yield [found(word, f"{directory}/first.py")]
    (tree.root / directory / "first.py").unlink()
    yield [absent(word)]
    time.sleep(tree.chance.uniform(0, 0.3))
    word = tree.write(f"{directory}/second.py")
    yield [found(word, f"{directory}/second.py")]
    shutil.rmtree(tree.root / "lib")
    yield [absent(word)]


def empty_package(tree: Tree) -> Steps:
    """Create a package with an empty `__init__.py`, and its first module later."""
    package = f"pkg_{tree.new_name()}"
    tree.write_text(f"{package}/__init__.py", "")
    time.sleep(tree.chance.uniform(0, 0.3))
    word = tree.write(f"{package}/module.py")
    yield [found(word, f"{package}/module.py")]
    shutil.rmtree(tree.root / package)
    yield [absent(word)]


def scaffold(tree: Tree) -> Steps:
    """Create a whole tree at once, as project generators do."""
    name = f"app_{tree.new_name()}"
    words = {path: tree.write(path) for path in (f"{name}/mod_{n}/sub/file_{n}.py" for n in range(GENERATED))}
    sample = tree.chance.sample(sorted(words), 3)
    yield [found(words[path], path) for path in sample]
    shutil.rmtree(tree.root / name)
    yield [absent(words[path]) for path in sample]


def generator(tree: Tree) -> Steps:
    """Write generated files into a new directory that then replaces the old one."""
    for _ in range(2):
        words = {}
        for number in range(GENERATED):
            words[f"gen/out_{number}.py"] = tree.write(f"gen.new/out_{number}.py")
        shutil.rmtree(tree.root / "gen", ignore_errors=True)
        os.rename(tree.root / "gen.new", tree.root / "gen")
        path = tree.chance.choice(sorted(words))
        yield [found(words[path], path)]
        word = tree.write(path)
        yield [found(word, path), absent(words[path])]


def checkout(tree: Tree) -> Steps:
    """Switch to a branch with other contents and back, and save after each switch."""
    tree.commit("before")
    path, name = tree.pick(), tree.new_name()
    main_word = tree.write(path)
    tree.commit("main")
    tree.git("checkout", "-q", "-b", name)
    branch_word = tree.write(path)
    tree.commit("branch")
    yield [found(branch_word, path)]
    tree.git("checkout", "-q", "main")
    yield [found(main_word, path), absent(branch_word)]
    tree.git("checkout", "-q", name)
    tree.git("checkout", "-q", "main")
    tree.git("checkout", "-q", name)
    yield [found(branch_word, path), absent(main_word)]
    tree.git("checkout", "-q", "main")
    word = tree.write(path)
    yield [found(word, path)]
    tree.git("branch", "-q", "-D", name)


def checkout_many_directories(tree: Tree) -> Steps:
    """Switch to a branch with 150 more directories, back and again."""
    tree.commit("before")
    name = tree.new_name()
    tree.git("checkout", "-q", "-b", name)
    words = {path: tree.write(path) for path in (f"many/dir_{n}/file.py" for n in range(DIRECTORIES))}
    tree.commit("many")
    path = tree.chance.choice(sorted(words))
    tree.git("checkout", "-q", "main")
    yield [absent(words[path])]
    tree.git("checkout", "-q", name)
    yield [found(words[path], path)]
    word = tree.write(path)
    yield [found(word, path)]
    tree.git("checkout", "-q", "-f", "main")
    other = tree.pick()
    saved = tree.write(other)
    yield [absent(word), found(saved, other)]
    tree.git("branch", "-q", "-D", name)


def stash(tree: Tree) -> Steps:
    """Stash changes and untracked files, and take them back."""
    tree.commit("before")
    path, new = tree.pick(), f"stashed_{tree.new_name()}/new.py"
    word, new_word = tree.write(path), tree.write(new)
    tree.git("stash", "-q", "-u")
    yield [absent(word), absent(new_word)]
    tree.git("stash", "pop", "-q")
    yield [found(word, path), found(new_word, new)]
    tree.git("stash", "-q", "-u")
    tree.git("stash", "pop", "-q")
    again = tree.write(new)
    yield [found(again, new), absent(new_word)]
    (tree.root / new).unlink()


def rebase(tree: Tree) -> Steps:
    """Rebase a branch onto a main that has moved."""
    tree.commit("before")
    name = tree.new_name()
    mine, theirs = f"rebase/{name}_mine.py", f"rebase/{name}_theirs.py"
    tree.git("checkout", "-q", "-b", name)
    my_word = tree.write(mine)
    tree.commit("mine")
    tree.git("checkout", "-q", "main")
    their_word = tree.write(theirs)
    tree.commit("theirs")
    tree.git("checkout", "-q", name)
    yield [found(my_word, mine), absent(their_word)]
    tree.git("rebase", "-q", "main")
    yield [found(my_word, mine), found(their_word, theirs)]
    tree.git("checkout", "-q", "main")
    yield [absent(my_word), found(their_word, theirs)]
    tree.git("merge", "-q", name)
    yield [found(my_word, mine)]
    tree.git("branch", "-q", "-D", name)


def reset_and_clean(tree: Tree) -> Steps:
    """Throw changes away with `git reset --hard` and `git clean -fdx`."""
    tree.commit("before")
    path, new = tree.pick(), f"cleaned_{tree.new_name()}/new.py"
    word, new_word = tree.write(path), tree.write(new)
    yield [found(word, path), found(new_word, new)]
    tree.git("reset", "-q", "--hard")
    yield [absent(word)]
    tree.git("clean", "-q", "-fd")
    yield [absent(new_word)]


def worktree(tree: Tree) -> Steps:
    """Add a linked worktree inside the project, which is a separate project, and remove it."""
    tree.commit("before")
    path = tree.pick()
    word = tree.write(path)
    tree.commit("word")
    name = f"trees/{tree.new_name()}"
    tree.git("worktree", "add", "-q", "--detach", name)
    yield [found(word, path)]
    tree.write(f"{name}/{path}")
    yield [found(word, path)]
    tree.git("worktree", "remove", "--force", name)
    again = tree.write(path)
    yield [found(again, path)]


def npm(tree: Tree) -> Steps:
    """Install hundreds of packages, save other files, remove them."""
    for number in range(PACKAGES):
        tree.write(f"node_modules/pkg_{number}/lib/index.js")
        tree.write(f"node_modules/pkg_{number}/test/spec.js")
    path = tree.pick()
    word = tree.write(path)
    yield [found(word, path)]
    shutil.rmtree(tree.root / "node_modules")
    again = tree.write(path)
    yield [found(again, path), absent(word)]


def change_ignore_rules(tree: Tree) -> Steps:
    """Ignore a directory, and stop ignoring it."""
    name = f"rules_{tree.new_name()}"
    word = tree.write(f"{name}/inner/file.py")
    yield [found(word, f"{name}/inner/file.py")]
    rules = (tree.root / ".gitignore").read_text()
    tree.write_text(".gitignore", f"{rules}{name}/\n")
    yield [absent(word)]
    tree.write_text(".gitignore", rules)
    yield [found(word, f"{name}/inner/file.py")]
    exclude = tree.root / ".git/info/exclude"
    exclude.parent.mkdir(exist_ok=True)
    exclude.write_text(f"{name}/\n")
    yield [absent(word)]
    exclude.write_text("")
    yield [found(word, f"{name}/inner/file.py")]
    shutil.rmtree(tree.root / name)
    yield [absent(word)]


def add_ignored_file(tree: Tree) -> Steps:
    """Track an ignored file with `git add -f`, change it, and stop tracking it."""
    path = f"ignored/{tree.new_name()}.py"
    word = tree.write(path)
    yield [absent(word)]
    tree.git("add", "-f", path)
    yield [found(word, path)]
    again = tree.write(path)
    yield [found(again, path)]
    tree.git("rm", "-q", "-f", "--cached", path)
    yield [absent(again)]


def ignored_log(tree: Tree) -> Steps:
    """Save while a log that grows, one that git ignores and one that it does not."""
    path, log = tree.pick(), f"app_{tree.new_name()}.log"
    for name in ("noise.cache", log):
        for _ in range(6):
            with (tree.root / name).open("a") as file:
                file.write("tick\n" * 50)
            word = tree.write(path)
            yield [found(word, path)]
    (tree.root / log).unlink()


def replace_file_by_directory(tree: Tree) -> Steps:
    """Replace a file by a directory of the same name, and back; a directory by a link."""
    name = f"shape_{tree.new_name()}.py"
    word = tree.write(name)
    yield [found(word, name)]
    (tree.root / name).unlink()
    inner = tree.write(f"{name}/inner.py")
    yield [found(inner, f"{name}/inner.py"), absent(word)]
    shutil.rmtree(tree.root / name)
    word = tree.write(name)
    yield [found(word, name), absent(inner)]
    (tree.root / name).unlink()
    (tree.root / name).symlink_to("src/part_1")
    yield [absent(word)]
    (tree.root / name).unlink()


def move_in_and_out(tree: Tree) -> Steps:
    """Move a directory into the project, rename it, move it out, and back."""
    outside = tree.root.parent / f"outside_{tree.new_name()}"
    (outside / "sub").mkdir(parents=True)
    word = tree.new_word()
    (outside / "sub/file.py").write_text(tree.source(word))
    name, other = f"in_{tree.new_name()}", f"in_{tree.new_name()}"
    os.rename(outside, tree.root / name)
    yield [found(word, f"{name}/sub/file.py")]
    os.rename(tree.root / name, tree.root / other)
    yield [found(word, f"{other}/sub/file.py")]
    again = tree.write(f"{other}/sub/file.py")
    yield [found(again, f"{other}/sub/file.py"), absent(word)]
    os.rename(tree.root / other, outside)
    (outside / "sub/file.py").write_text(tree.source(word))
    yield [absent(again), absent(word)]
    os.rename(outside, tree.root / name)
    yield [found(word, f"{name}/sub/file.py")]
    shutil.rmtree(tree.root / name)


def remove_many_directories(tree: Tree) -> Steps:
    """Remove a tree of directories and create it again at once."""
    words: dict[str, str] = {}
    for _ in range(2):
        old = dict(words)
        shutil.rmtree(tree.root / "bulk", ignore_errors=True)
        words = {path: tree.write(path) for path in (f"bulk/d{n % 20}/e{n}/f.py" for n in range(GENERATED))}
        path = tree.chance.choice(sorted(words))
        yield [found(words[path], path), *([absent(old[path])] if old else [])]
        word = tree.write(path)
        yield [found(word, path)]
    shutil.rmtree(tree.root / "bulk")
    yield [absent(word)]


def nested_repository(tree: Tree) -> Steps:
    """Clone into the project, commit there, and remove the clone."""
    name = f"vendor_{tree.new_name()}"
    tree.git("init", "-q", name)
    word = tree.write(f"{name}/code.py")
    yield [found(word, f"{name}/code.py")]
    tree.git("-C", name, "add", "-A")
    tree.git("-C", name, "commit", "-q", "-m", "inner")
    again = tree.write(f"{name}/code.py")
    yield [found(again, f"{name}/code.py"), absent(word)]
    tree.git("-C", name, "checkout", "-q", "-f", ".")
    yield [found(word, f"{name}/code.py"), absent(again)]
    shutil.rmtree(tree.root / name)
    yield [absent(word)]


def submodule(tree: Tree) -> Steps:
    """Add a submodule, move it to another commit, remove it."""
    tree.commit("before")
    source = tree.root.parent / f"library_{tree.new_name()}"
    source.mkdir()
    word = tree.new_word()
    (source / "lib.py").write_text(tree.source(word))
    tree.git("-C", str(source), "init", "-q")
    tree.git("-C", str(source), "add", "-A")
    tree.git("-C", str(source), "commit", "-q", "-m", "library")
    name = f"sub_{tree.new_name()}"
    tree.git("submodule", "add", "-q", str(source), name)
    yield [found(word, f"{name}/lib.py")]
    again = tree.write(f"{name}/lib.py")
    yield [found(again, f"{name}/lib.py")]
    tree.git("-C", name, "checkout", "-q", "-f", ".")
    yield [found(word, f"{name}/lib.py"), absent(again)]
    tree.git("submodule", "deinit", "-q", "-f", name)
    tree.git("rm", "-q", "-f", name)
    yield [absent(word)]


def mode_changes(tree: Tree) -> Steps:
    """Make a file executable, touch it, and link it a second time: the index stays complete."""
    path = tree.pick()
    word = tree.write(path)
    os.chmod(tree.root / path, 0o755)
    os.utime(tree.root / path)
    yield [found(word, path)]


Scenario = Callable[[Tree], Steps]

SCENARIOS: dict[str, Scenario] = {
    scenario.__name__: scenario
    for scenario in (
        save_in_place,
        save_by_rename,
        save_with_backup,
        append_and_hold_open,
        truncate_then_write,
        two_saves_in_one_tick,
        keep_times,
        create_and_delete,
        directory_then_file,
        empty_package,
        scaffold,
        generator,
        checkout,
        checkout_many_directories,
        stash,
        rebase,
        reset_and_clean,
        worktree,
        npm,
        change_ignore_rules,
        add_ignored_file,
        ignored_log,
        replace_file_by_directory,
        move_in_and_out,
        remove_many_directories,
        nested_repository,
        submodule,
        mode_changes,
    )
}
