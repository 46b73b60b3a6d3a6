"""Draw the charts of the README from benchmarks/comparison.json: docs/images/quality.svg and docs/images/tasks.svg."""

import json
import math
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

REPOSITORY = Path(__file__).parents[1]
RESULTS = REPOSITORY / "benchmarks" / "comparison.json"
IMAGES = REPOSITORY / "docs" / "images"

OURS = "#0b6bcb"
OTHERS = "#8a8f98"
INK = "#24292f"
GRID = "#e4e7eb"
FONT = "font-family=\"system-ui, -apple-system, 'Segoe UI', Helvetica, Arial, sans-serif\""

WIDTH = 760
QUALITY_HEIGHT = 400
LEFT, RIGHT, TOP, BOTTOM = 60, 30, 50, 70
LATENCY_RANGE = (1.0, 400.0)
LATENCY_TICKS = (1, 3, 10, 30, 100, 300)
QUALITY_RANGE = (0.0, 1.0)
LABEL_WIDTH = 300  # beside the longest bar
LABELS_BELOW = ("CodeRankEmbed hybrid", "semble", "ColGREP")
"""Tools whose label is below their point, away from other labels."""


def draw_quality(figures: dict[str, Any]) -> str:
    """Return the chart of quality against latency: filled points for seen repositories, rings for unseen ones."""
    parts = [_title(figures["title"])]
    for tick in LATENCY_TICKS:
        parts += [_line(_x(tick), TOP, _x(tick), QUALITY_HEIGHT - BOTTOM), _axis(_x(tick), f"{tick} ms")]
    for tenth in range(0, 11, 2):
        y = _y(tenth / 10)
        parts += [_line(LEFT, y, WIDTH - RIGHT, y), _text(LEFT - 8, y + 4, f"{tenth / 10:.1f}", anchor="end")]
    for tool in figures["tools"]:
        parts += _draw_tool(tool)
    legend = QUALITY_HEIGHT - 14
    parts += [
        _text(WIDTH / 2, QUALITY_HEIGHT - 34, "time of a query, p50, warm index (logarithmic)", anchor="middle"),
        f'<circle cx="{LEFT}" cy="{legend - 4}" r="5" fill="{INK}"/>',
        _text(LEFT + 12, legend, figures["seen"]),
        f'<circle cx="{LEFT + 330}" cy="{legend - 4}" r="5" fill="white" stroke="{INK}" stroke-width="2"/>',
        _text(LEFT + 342, legend, figures["unseen"]),
    ]
    return _document(QUALITY_HEIGHT, parts)


def _draw_tool(tool: dict[str, Any]) -> list[str]:
    x, y = _x(tool["latency_ms"]), _y(tool["seen"])
    is_ours = tool["name"] == "Agent Brain"
    color = OURS if is_ours else OTHERS
    parts = [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{7 if is_ours else 5}" fill="{color}"/>']
    label = f"{tool['name']} {tool['seen']:.3f}"
    if "unseen" in tool:
        ring = f'<circle cx="{x + 16:.1f}" cy="{_y(tool["unseen"]):.1f}" r="5" fill="white" stroke="{color}"'
        parts.append(f'{ring} stroke-width="2"/>')
        label += f" / {tool['unseen']:.3f}"
    parts.append(
        _text(
            x - 8,
            y + (24 if tool["name"] in LABELS_BELOW else -14),
            label,
            color=OURS if is_ours else INK,
            bold=is_ours,
        )
    )
    return parts


def draw_tasks(figures: dict[str, Any]) -> str:
    """Return the chart of the tokens and calls that each way needs for a task."""
    most = max(way["tokens"] for way in figures["ways"])
    scale = (WIDTH - LABEL_WIDTH) / most
    parts = [_title(figures["title"])]
    for number, way in enumerate(figures["ways"]):
        y = 62 + number * 62
        length = way["tokens"] * scale
        solved = f"{way['solved'] / way['tasks']:.0%} solved"
        parts += [
            _text(24, y - 6, way["name"], color=INK, bold=True),
            _bar(24, y, length, OURS if way["name"].startswith("agent-brain") else OTHERS),
            _text(24 + length + 10, y + 15, f"{way['tokens']:,} tokens · {way['calls']:.2f} calls · {solved}"),
        ]
    return _document(52 + 62 * len(figures["ways"]), parts)


def _x(latency_ms: float) -> float:
    low, high = map(math.log, LATENCY_RANGE)
    return LEFT + (math.log(latency_ms) - low) / (high - low) * (WIDTH - LEFT - RIGHT)


def _y(quality: float) -> float:
    low, high = QUALITY_RANGE
    return QUALITY_HEIGHT - BOTTOM - (quality - low) / (high - low) * (QUALITY_HEIGHT - TOP - BOTTOM)


def _line(x1: float, y1: float, x2: float, y2: float) -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{GRID}"/>'


def _text(x: float, y: float, text: str, *, anchor: str = "start", color: str = INK, bold: bool = False) -> str:
    weight = ' font-weight="600"' if bold else ""
    style = f'font-size="13" text-anchor="{anchor}" fill="{color}"{weight}'
    return f'<text x="{x:.1f}" y="{y:.1f}" {style}>{escape(text)}</text>'


def _bar(x: float, y: float, width: float, color: str) -> str:
    size = f'x="{x:.1f}" y="{y}" width="{width:.1f}" height="20"'
    return f'<rect {size} rx="3" fill="{color}"/>'


def _axis(x: float, text: str) -> str:
    return _text(x, QUALITY_HEIGHT - BOTTOM + 18, text, anchor="middle")


def _title(text: str) -> str:
    return f'<text x="24" y="28" font-size="15" font-weight="600" fill="{INK}">{escape(text)}</text>'


def _document(height: int, parts: list[str]) -> str:
    size = f'width="{WIDTH}" height="{height}" viewBox="0 0 {WIDTH} {height}"'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" {size} {FONT}>'
    frame = f'<rect x="0.5" y="0.5" width="{WIDTH - 1}" height="{height - 1}" rx="8" fill="white" stroke="{GRID}"/>'
    return "\n".join([head, frame, *filter(None, parts), "</svg>", ""])


def draw_all() -> dict[Path, str]:
    """Return the charts by path."""
    figures = json.loads(RESULTS.read_text(encoding="utf-8"))
    return {
        IMAGES / "quality.svg": draw_quality(figures["quality"]),
        IMAGES / "tasks.svg": draw_tasks(figures["tasks"]),
    }


if __name__ == "__main__":
    for path, chart in draw_all().items():
        path.write_text(chart, encoding="utf-8")
