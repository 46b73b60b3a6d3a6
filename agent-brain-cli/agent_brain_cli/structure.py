"""Print the answer to a question about the structure of code."""

from pathlib import Path

from agent_brain_cli.output import Json, visible
from agent_brain_cli.results import locate

MAX_PARTIAL = 8  # places that precede the results of a search


def format_structure(structure: Json, root: Path) -> str:
    """Return the answer to a question about the structure: a summary, then a line for each place."""
    lines = [visible(structure["summary"])]
    limit = MAX_PARTIAL if structure.get("is_partial") else None
    for line in structure["lines"][:limit]:
        indent, text = "  " * line["depth"], visible(line["text"])
        place = f"{line['line']}-{line['end_line']}" if line["end_line"] > line["line"] else str(line["line"])
        within = f" in {visible(line['enclosing'])}" if line["enclosing"] else ""
        if structure["question"] == "outline":
            lines.append(f"{indent}{place} {text}")
        else:
            lines.append(f"{indent}{visible(locate(line['source'], root))}:{place}{within}: {text}")
    rest = structure["total"] - len(structure["lines"][:limit])
    return "\n".join((*lines, *([f"… {rest:,} more: agent-brain refs"] if rest > 0 else [])))
