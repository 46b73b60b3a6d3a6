"""All names that a project defines, in memory, to find names that contain or resemble a text."""

import threading
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

MAX_COMPARED = 2_000
"""Names whose edit distance is computed: those with the smallest lower bound of it."""

MAX_COMPARED_BYTES = 48  # of a name; longer ones differ before that
MAX_LENGTH = 100  # characters of a name; longer ones are generated, and would fill the memory
MAX_LOADED = 500_000  # names; a project with more finds no similar names among the rest
MAX_HITS = 20_000  # names with a text that are considered; a single letter is in most names
SEPARATOR = b"\n"

Bytes = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class _Table:
    """Distinct names as one text, for fast scans.

    Attributes:
        joined: The names, each followed by a newline.
        starts: Offset of each name in `joined`.
        lengths: Length of each name in bytes.
        masks: Set of the bytes of each name, as bits modulo 64.
    """

    joined: bytes
    starts: npt.NDArray[np.int64]
    lengths: npt.NDArray[np.int64]
    masks: npt.NDArray[np.uint64]

    def name_at(self, index: int) -> str:
        start = int(self.starts[index])
        return self.joined[start : start + int(self.lengths[index])].decode("utf-8", "replace")


class DefinedNames:
    """The names that definitions have or had, in folded case. Any thread may read and add.

    Names are only added, so that a change of a file does not require to read all names again. A caller checks
    whether a name that was found is still defined.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._table: _Table | None = None
        self._is_collecting = False
        self._added: set[str] = set()

    @property
    def is_loaded(self) -> bool:
        """Whether `load` was called since the last `clear`."""
        return self._table is not None

    def collect(self) -> None:
        """Keep the names that are added from now on, because those of the store are about to be read."""
        with self._lock:
            self._is_collecting = True

    def load(self, joined: str) -> None:
        """Set the names.

        Args:
            joined: The names in folded case, separated by newlines.
        """
        table = _make_table(joined.encode("utf-8", "replace"))
        with self._lock:
            self._table = table

    def add(self, folded: Iterable[str]) -> None:
        """Add names in folded case, which may be known; without effect until the first name is looked up."""
        with self._lock:
            if self._is_collecting:
                self._added.update(name for name in folded if len(name) <= MAX_LENGTH)

    def clear(self) -> None:
        """Forget all names."""
        with self._lock:
            self._table = None
            self._is_collecting = False
            self._added.clear()

    def containing(self, part: str) -> list[str]:
        """Return names that contain a text in folded case: those that begin with it first, then shorter ones first."""
        table = self._current()
        wanted = part.encode("utf-8", "replace")
        if not wanted or SEPARATOR in wanted:
            return []
        found: list[str] = []
        position = table.joined.find(wanted)
        while position >= 0 and len(found) < MAX_HITS:
            start = table.joined.rfind(SEPARATOR, 0, position) + 1
            end = table.joined.find(SEPARATOR, position)
            found.append(table.joined[start:end].decode("utf-8", "replace"))
            position = table.joined.find(wanted, end)
        return sorted(found, key=lambda name: (not name.startswith(part), len(name), name))

    def nearest(self, name: str, limit: int) -> list[str]:
        """Return the names nearest to a name in folded case by edit distance, nearest first, without the name itself.

        The distance is that of Levenshtein with transpositions of neighbors (optimal string alignment), in bytes.
        """
        table = self._current()
        wanted = name.encode("utf-8", "replace")[:MAX_COMPARED_BYTES]
        candidates = _find_candidates(table, wanted)
        if not len(candidates):
            return []
        distances = _measure_distances(table, candidates, wanted)
        found = zip(distances.tolist(), map(table.name_at, candidates.tolist()), strict=True)
        return [near for _, near in sorted(found) if near != name][:limit]

    def _current(self) -> _Table:
        """Return the table with the added names."""
        with self._lock:
            table = self._table or _make_table(b"")
            if self._added:
                known = set(table.joined.decode("utf-8", "replace").split("\n"))
                added = "\n".join(sorted(self._added - known)).encode("utf-8", "replace")
                if added:
                    table = _make_table(table.joined + added)
                self._table = table
                self._added.clear()
            return table


def _make_table(joined: bytes) -> _Table:
    if joined and not joined.endswith(SEPARATOR):
        joined += SEPARATOR
    codes = np.frombuffer(joined, dtype=np.uint8)
    ends = np.flatnonzero(codes == SEPARATOR[0])
    starts = np.concatenate((np.zeros(1, np.int64), ends[:-1] + 1)) if len(ends) else ends
    bits = np.left_shift(np.uint64(1), (codes & 63).astype(np.uint64))
    bits[ends] = 0
    masks = np.bitwise_or.reduceat(bits, starts) if len(starts) else bits
    return _Table(joined, starts, ends - starts, masks)


def _find_candidates(table: _Table, wanted: bytes) -> npt.NDArray[np.int64]:
    """Return the indexes of names whose distance has the smallest lower bound.

    An edit changes the length by at most one, and the set of bytes by at most two.
    """
    mask = np.uint64(0)
    for code in wanted:
        mask |= np.uint64(1 << (code & 63))
    changed = _count_bits(table.masks ^ mask)
    bounds = np.maximum(abs(table.lengths - len(wanted)), (changed + 1) // 2).astype(np.int32)
    bounds[table.lengths == 0] = np.iinfo(np.int32).max
    count = min(MAX_COMPARED, len(bounds))
    chosen = np.argpartition(bounds, count - 1)[:count] if count else np.empty(0)
    return np.sort(chosen.astype(np.int64))


def _count_bits(values: npt.NDArray[np.uint64]) -> npt.NDArray[np.int64]:
    """Return the number of bits of each value, by sums of groups of 2, 4 and 8 bits (Warren, Hacker's Delight)."""
    pairs, nibbles, octets, ones = (np.uint64(int(digits * 8, 16)) for digits in ("55", "33", "0f", "01"))
    one, two, four, top = map(np.uint64, (1, 2, 4, 56))
    counts = values - (values >> one & pairs)
    counts = (counts & nibbles) + (counts >> two & nibbles)
    counts = counts + (counts >> four) & octets
    sums: npt.NDArray[np.uint64] = counts * ones >> top
    return sums.astype(np.int64)


def _measure_distances(table: _Table, candidates: npt.NDArray[np.int64], wanted: bytes) -> npt.NDArray[np.int64]:
    """Return the edit distance of each candidate, all computed at once row by row."""
    lengths = np.minimum(table.lengths[candidates], MAX_COMPARED_BYTES)
    width = int(lengths.max())
    codes = np.frombuffer(table.joined + bytes(width), dtype=np.uint8)
    names: Bytes = codes[table.starts[candidates][:, None] + np.arange(width)].T.copy()  # one row for each position
    before: list[npt.NDArray[np.int16]] = []
    row = [np.full(len(candidates), position, np.int16) for position in range(width + 1)]
    for index, code in enumerate(wanted):
        last, row = row, [np.full(len(candidates), index + 1, np.int16)]
        for position in range(width):
            cell = np.minimum(last[position + 1], row[position]) + np.int16(1)
            np.minimum(cell, last[position] + (names[position] != code), out=cell)
            if index and position:
                swapped = (names[position - 1] == code) & (names[position] == wanted[index - 1])
                np.minimum(cell, np.where(swapped, before[position - 1] + np.int16(1), cell), out=cell)
            row.append(cell)
        before = last
    return np.stack(row)[lengths, np.arange(len(candidates))].astype(np.int64)
