"""Numbers in sentences that people read, in the server's messages and the command's."""


def count_noun(count: int | None, noun: str) -> str:
    """Return `1 file`, `2 files`, `1,234 files`; where the number is not known, `? files`.

    Args:
        count: How many.
        noun: In the singular; its plural ends with an s.
    """
    return f"? {noun}s" if count is None else f"{count:,} {noun}{'' if count == 1 else 's'}"
