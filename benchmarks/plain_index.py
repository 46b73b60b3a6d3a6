"""The reference of a first index: every file read, hashed, cut every 40 lines and committed to tantivy, in one process.

Usage: python -m benchmarks.plain_index CORPUS
"""

import hashlib
import sys
import tempfile
from pathlib import Path

import tantivy

LINES = 40


def index_plainly(corpus: Path, directory: str) -> int:
    """Index the text files of a tree by runs of lines; return the number of runs."""
    builder = tantivy.SchemaBuilder()
    builder.add_text_field("body", stored=False)
    index = tantivy.Index(builder.build(), path=directory)
    writer = index.writer(num_threads=1)
    count = 0
    for path in corpus.rglob("*"):
        data = path.read_bytes() if path.is_file() else b"\0"
        if b"\0" in data:
            continue
        hashlib.sha256(data).digest()
        lines = data.decode("utf-8", "replace").splitlines()
        for start in range(0, len(lines), LINES):
            writer.add_document(tantivy.Document(body="\n".join(lines[start : start + LINES])))
            count += 1
    writer.commit()
    writer.wait_merging_threads()
    return count


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as scratch:
        print(index_plainly(Path(sys.argv[1]), scratch))
