"""The API reference page: the OpenAPI document as HTML, without scripts and without anything to load.

It renders what this server's document uses of OpenAPI 3.1: references, `anyOf`, enumerations, lists, maps and bounds.
"""

import base64
import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from html import escape
from importlib.resources import files
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

router = APIRouter(include_in_schema=False)

Schema = Mapping[str, Any]
"""A part of the OpenAPI document."""

REFERENCE = "#/components/schemas/"
MINIMA, MAXIMA = ("minimum", "minLength", "minItems"), ("maximum", "maxLength", "maxItems")

PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title} API</title>
<link rel="icon" href="data:,">
<style>{style}</style>
</head>
<body>
<h1>{title} {version} API</h1>
<p>{description} <a href="/openapi.json">openapi.json</a> is the same for programs. Requests and responses are JSON.
Except for <code>GET /health</code>, a request needs the header <code>Authorization: Bearer TOKEN</code> with the token
of <code>runtime.json</code>, or, on Linux, must come from the user who runs the server.</p>
<h2>Endpoints</h2>
{endpoints}
<h2>Models</h2>
{models}
</body>
</html>
"""


@router.get("/docs")
async def show_reference(request: Request) -> HTMLResponse:
    """Return the page; its policy allows its own style sheet and nothing else."""
    style = read_style()
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    policy = (
        "default-src 'none'",
        f"style-src 'sha256-{digest}'",
        "img-src data:",  # the empty icon, so that no browser requests one
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
    headers = {
        "Content-Security-Policy": "; ".join(policy),
        "Referrer-Policy": "no-referrer",
        "X-Content-Type-Options": "nosniff",
    }
    return HTMLResponse(render_page(request.app.openapi()), headers=headers)


@cache
def read_style() -> str:
    """Return the style sheet of the page."""
    return files("agent_brain_server.api").joinpath("reference.css").read_text(encoding="utf-8")


def render_page(document: Schema) -> str:
    """Return the page for an OpenAPI document."""
    info, schemas = document["info"], document["components"]["schemas"]
    endpoints = (
        _render_endpoint(method.upper(), path, operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    )
    return PAGE.format(
        title=escape(info["title"]),
        version=escape(info["version"]),
        description=_render_text(info["description"]),
        style=read_style(),
        endpoints="".join(endpoints),
        models="".join(_render_model(name, schema) for name, schema in schemas.items()),
    )


def _render_endpoint(method: str, path: str, operation: Schema) -> str:
    rows = [
        (f"<code>{escape(each['name'])}</code>", f"in {each['in']}", *_describe(each["schema"], each["required"]))
        for each in operation.get("parameters", ())
    ]
    if body := operation.get("requestBody"):
        rows.append(("body", "", _name_type(body["content"]["application/json"]["schema"]), ""))
    for status, answer in operation["responses"].items():
        media, content = next(iter(answer["content"].items()))
        kind = _name_type(content["schema"]) if content.get("schema") else f"<code>{escape(media)}</code>"
        rows.append((f"response {escape(status)}", "", kind, _render_text(answer["description"])))
    heading = f"<h3><code>{method} {escape(path)}</code></h3>"
    return f"{heading}\n<p>{_render_text(operation['description'])}</p>\n{_render_table(rows)}"


def _render_model(name: str, schema: Schema) -> str:
    required = schema.get("required", ())
    rows = [
        (f"<code>{escape(field)}</code>", *_describe(value, field in required))
        for field, value in schema["properties"].items()
    ]
    heading = f'<h3 id="{escape(name)}"><code>{escape(name)}</code></h3>'
    return f"{heading}\n<p>{_render_text(schema['description'])}</p>\n{_render_table(rows)}"


def _describe(schema: Schema, is_required: bool) -> tuple[str, str]:
    """Return the type and the description of a field or parameter."""
    description = _render_text(schema.get("description", ""))
    if not is_required and schema.get("default") not in (None, [], {}):
        description += f" Default: <code>{escape(json.dumps(schema['default']))}</code>."
    return _name_type(schema) + (" (required)" if is_required else ""), description


def _name_type(schema: Schema) -> str:
    """Return a type as text, with links to models."""
    if reference := schema.get("$ref"):
        name = escape(reference.removeprefix(REFERENCE))
        return f'<a href="#{name}"><code>{name}</code></a>'
    if choices := schema.get("anyOf"):
        return " or ".join(_name_type(each) for each in choices)
    if allowed := schema.get("enum"):
        return " or ".join(f"<code>{escape(json.dumps(each))}</code>" for each in allowed)
    bounds = "".join(_name_bounds(schema))
    if schema["type"] == "array":
        return f"list of {_name_type(schema['items'])}{bounds}"
    if schema["type"] == "object":
        values = schema.get("additionalProperties", True)
        return f"map of strings to {'any value' if isinstance(values, bool) else _name_type(values)}"
    return f"{schema['type']}{bounds}"


def _name_bounds(schema: Schema) -> Iterator[str]:
    for sign, names in ((">=", MINIMA), ("<=", MAXIMA)):
        for name in names:
            if name in schema:
                quantity = " length" if name.endswith(("Length", "Items")) else ""
                yield escape(f",{quantity} {sign} {schema[name]:n}")


def _render_table(rows: Iterable[tuple[str, ...]]) -> str:
    """Return a table whose first column names the row; the cells are HTML."""
    lines = "".join(
        f'<tr><th scope="row">{first}</th>{"".join(f"<td>{cell}</td>" for cell in rest)}</tr>\n'
        for first, *rest in rows
    )
    return f"<table>\n{lines}</table>\n"


def _render_text(text: str) -> str:
    """Return a description as HTML, with its code marked."""
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(text, quote=False))
