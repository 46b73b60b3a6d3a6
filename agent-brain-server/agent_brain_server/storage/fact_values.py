"""Syntax facts as plain values, in which the workers send them and the document store keeps them.

A file has hundreds of references, and a project some hundred thousand. As columns of numbers they are checked, grouped
and packed by NumPy, in a fifth of the CPU that objects need.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Self, get_args, overload

import numpy as np
import numpy.typing as npt

from agent_brain_server.types import Definition, Reference, ReferenceKind

KINDS: tuple[ReferenceKind, ...] = get_args(ReferenceKind)
"""Kinds by the number that is sent and stored; at most 4, because the number has two bits."""

KIND_NUMBERS = {kind: number for number, kind in enumerate(KINDS)}

COLUMNS = 4
"""Numbers of a reference: index of the name, line, number of the kind, index of the enclosing definition or -1."""

MAX_NAMES = 1 << 17  # the columns are sorted as one number of 62 bits: 17 for the name,
MAX_LINE = (1 << 28) - 1  # 28 for the line, 2 for the kind,
MAX_SCOPE = (1 << 15) - 2  # and 15 for the enclosing definition, 0 standing for none

Numbers = npt.NDArray[np.int64]

Site = tuple[int, ReferenceKind, int | None]
"""Line, kind, and index of the enclosing definition."""


def list_values(definition: Definition) -> list[Any]:
    """Return the values of a definition, the arguments of `Definition`."""
    d = definition
    return [
        d.name, d.qualified_name, d.kind, d.signature, d.name_line, d.start_line, d.end_line, d.parent, d.documentation,
    ]  # fmt: skip


@dataclass(frozen=True, slots=True, eq=False)
class ReferenceTable(Sequence[Reference]):
    """References in the order of the file; an object is made of each one that is read.

    Attributes:
        names: The distinct names.
        numbers: Shape (n, `COLUMNS`).
    """

    names: tuple[str, ...]
    numbers: Numbers

    @classmethod
    def make(cls, references: Iterable[Reference]) -> Self:
        """Return the table of references; a table is returned unchanged."""
        if isinstance(references, cls):
            return references
        names, numbers = list_numbers(references)
        return cls(tuple(names), np.array(numbers, dtype=np.int64).reshape(-1, COLUMNS))

    def __len__(self) -> int:
        return len(self.numbers)

    def __iter__(self) -> Iterator[Reference]:
        for name, line, kind, scope in self.numbers.tolist():
            yield Reference(self.names[name], line, KINDS[kind], None if scope < 0 else scope)

    @overload
    def __getitem__(self, index: int) -> Reference: ...

    @overload
    def __getitem__(self, index: slice) -> "ReferenceTable": ...

    def __getitem__(self, index: int | slice) -> "Reference | ReferenceTable":
        if isinstance(index, slice):
            return ReferenceTable(self.names, self.numbers[index])
        return next(iter(ReferenceTable(self.names, self.numbers[index][None])))

    def __eq__(self, other: object) -> bool:
        return tuple(self) == tuple(other) if isinstance(other, Sequence) else NotImplemented

    def __hash__(self) -> int:
        return hash(tuple(self))


def list_numbers(references: Iterable[Reference]) -> tuple[list[str], list[int]]:
    """Return the distinct names of references, and `COLUMNS` numbers for each reference."""
    names: dict[str, int] = {}
    numbers: list[int] = []
    for name, line, kind, scope in references:
        numbers += (names.setdefault(name, len(names)), line, KIND_NUMBERS[kind], -1 if scope is None else scope)
    return list(names), numbers


def pack_tables(tables: Sequence[ReferenceTable]) -> Iterator[tuple[int, str, bytes]]:
    """Yield the index of a table, a name, and its sites, which `unpack_sites` reads.

    The sites of a name are ordered by line, kind and scope. The first number is how many there are; then there are two
    for each: the distance from the line before, shifted by two bits, with the kind; and the scope, one higher. They
    have variable length: seven bits in each byte, the lowest first, as in LEB128.
    """
    owners = [(index, name) for index, table in enumerate(tables) for name in table.names]
    if len(owners) > MAX_NAMES and len(tables) > 1:
        for index, table in enumerate(tables):
            yield from ((index, name, packed) for _, name, packed in pack_tables([table]))
    elif any(map(len, tables)):
        firsts = np.cumsum([0, *(len(table.names) for table in tables[:-1])])
        numbers = [table.numbers + (first, 0, 0, 0) for table, first in zip(tables, firsts, strict=True)]
        for owner, packed in _pack_numbers(np.concatenate(numbers)):
            yield *owners[owner], packed


def _pack_numbers(numbers: Numbers) -> Iterator[tuple[int, bytes]]:
    """Yield the index of each name with its packed sites."""
    name, line, kind, scope = numbers.T
    ordered = np.sort((((name << 28 | line) << 2) | kind) << 15 | scope + 1)
    scope, kind, line, name = ordered & 0x7FFF, ordered >> 15 & 3, ordered >> 17 & MAX_LINE, ordered >> 45
    is_first = np.ones(len(name), dtype=bool)
    is_first[1:] = name[1:] != name[:-1]
    first = np.flatnonzero(is_first)
    steps = np.diff(line, prepend=0)
    steps[first] = line[first]
    values = np.empty(2 * len(name) + len(first), dtype=np.int64)
    position = 2 * np.arange(len(name)) + np.cumsum(is_first)
    values[position] = steps << 2 | kind
    values[position + 1] = scope
    heads = position[first] - 1
    values[heads] = np.diff(first, append=len(name))
    packed, offsets = _pack_integers(values)
    ends = [*offsets[heads[1:]].tolist(), len(packed)]
    for owner, start, end in zip(name[first].tolist(), offsets[heads].tolist(), ends, strict=True):
        yield owner, packed[start:end]


def unpack_sites(packed: bytes) -> list[Site]:
    """Return the sites of a name that `pack_tables` packed."""
    values = list(_unpack_integers(packed))
    line = 0
    sites: list[Site] = []
    for step, scope in zip(values[1::2], values[2::2], strict=True):
        line += step >> 2
        sites.append((line, KINDS[step & 3], scope - 1 if scope else None))
    return sites


def count_sites(packed: bytes) -> int:
    """Return the number of packed sites."""
    return next(_unpack_integers(packed))


def _pack_integers(values: Numbers) -> tuple[bytes, Numbers]:
    """Return integers from 0 in variable length, and the offset of each."""
    highest = int(values.max())
    if highest < 128:
        return values.astype(np.uint8).tobytes(), np.arange(len(values))
    limits = [1 << shift for shift in range(7, highest.bit_length(), 7)]
    lengths = np.searchsorted(limits, values, side="right") + 1
    offsets = np.cumsum(lengths) - lengths
    packed = np.zeros(int(lengths.sum()), dtype=np.uint8)
    for number in range(len(limits) + 1):
        longer = lengths > number
        more = (lengths[longer] > number + 1).astype(np.int64) << 7
        packed[offsets[longer] + number] = values[longer] >> 7 * number & 127 | more
    return packed.tobytes(), offsets


def _unpack_integers(packed: bytes) -> Iterator[int]:
    value = shift = 0
    for byte in packed:
        if byte > 127:
            value |= (byte & 127) << shift
            shift += 7
        else:
            yield value | byte << shift
            value = shift = 0
