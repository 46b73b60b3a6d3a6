"""The OpenAPI document as one page of HTML, for people: no script, and nothing that has to be loaded.

Only what this server's document uses of OpenAPI 3.1 is drawn: references, `anyOf`, enumerations, lists, maps, bounds.
"""

import base64
import hashlib
import json
import re
import shlex
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from html import escape
from importlib.resources import files
from typing import Any

Schema = Mapping[str, Any]
"""A part of the OpenAPI document."""

REFERENCE = "#/components/schemas/"
BOUNDS = {
    ("minimum", "maximum"): "",
    ("minLength", "maxLength"): "characters",
    ("minItems", "maxItems"): "of them",
}
"""Pairs of keywords that bound a value, and what they count."""


@dataclass(frozen=True, slots=True)
class _Call:
    method: str
    path: str
    operation: Schema


def render_page(document: Schema, base_url: str, *, needs_project: bool) -> str:
    """Return the page.

    Args:
        document: The OpenAPI document.
        base_url: Where the server was reached, without a slash at its end; the examples call it.
        needs_project: The examples tell a project, as the shared daemon wants it.
    """
    info, schemas = document["info"], document["components"]["schemas"]
    sections = "".join(
        _render_section(
            tag,
            [_render_article(call, schemas, _write_example(call, schemas, base_url, needs_project)) for call in calls],
        )
        for tag, calls in _group_calls(document)
    )
    sent_only = {_find_body(call.operation) for _, calls in _group_calls(document) for call in calls}
    answers = "".join(_render_answered(name, schema) for name, schema in schemas.items() if name not in sent_only)
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(info["title"])}: the calls</title>
<link rel="icon" href="data:,">
<style>{read_style()}</style>
</head>
<body>
<a class="skip" href="#calls">To the calls</a>
<header>
<h1>{escape(info["title"])} <span class="quiet">{escape(info["version"])}</span></h1>
<p>{_render_text(info["description"])}</p>
<p>The server is <code>{escape(base_url)}</code>. Bodies and answers are JSON;
<a href="/openapi.json">openapi.json</a> describes them for programs. On Linux a request from the user who runs the
server needs nothing more. Every other one, but for <code>GET /health</code>, shows the token of
<code>runtime.json</code>: <code>Authorization: Bearer TOKEN</code>.</p>
<p>In the examples, words in capitals are to be replaced.</p>
<nav aria-label="Calls"><ul>{_render_contents(document)}</ul></nav>
</header>
<main id="calls">
{sections}
<section aria-labelledby="answers"><h2 id="answers">What the answers hold</h2>
{answers}</section>
</main>
</body>
</html>
"""


@cache
def read_style() -> str:
    """Return the style sheet that stands in the page."""
    return files(__package__).joinpath("calls_page.css").read_text(encoding="utf-8")


@cache
def hash_style() -> str:
    """Return the name by which a Content-Security-Policy allows the style sheet and no other (W3C, CSP 3, 2.3.1)."""
    digest = hashlib.sha256(read_style().encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"


def _group_calls(document: Schema) -> Iterator[tuple[str, list[_Call]]]:
    """Yield each tag with its calls, both in the document's order."""
    calls = [
        _Call(method.upper(), path, operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    ]
    for tag in dict.fromkeys(call.operation["tags"][0] for call in calls):
        yield tag, [call for call in calls if call.operation["tags"][0] == tag]


def _render_contents(document: Schema) -> str:
    return "".join(
        f'<li><a href="#{escape(call.operation["operationId"])}">{_render_name(call)}</a></li>\n'
        for _, calls in _group_calls(document)
        for call in calls
    )


def _render_name(call: _Call) -> str:
    return f'<span class="method {call.method.lower()}">{call.method}</span> <code>{escape(call.path)}</code>'


def _render_section(tag: str, articles: Iterable[str]) -> str:
    name = escape(tag)
    title = f'<h2 id="{name}">{name.capitalize()}</h2>'
    return f'<section aria-labelledby="{name}">{title}\n{"".join(articles)}</section>\n'


def _render_article(call: _Call, schemas: Schema, example: str) -> str:
    operation = call.operation
    parts = [f"<h3>{_render_name(call)}</h3>\n<p>{_render_text(operation['description'])}</p>\n"]
    if parameters := _parameters(call):
        rows = [
            (f"<code>{escape(each['name'])}</code>", each["in"], *_describe_value(each["schema"], each["required"]))
            for each in parameters
        ]
        parts.append(_render_table("Parameters", ("name", "in", "type", "default", "meaning"), rows))
    if body := _find_body(operation):
        parts.append(_render_sent(schemas[body]))
    answers = [
        ("any other" if status == "default" else f"<code>{status}</code>", _name_content(answer), _tell_meaning(answer))
        for status, answer in operation["responses"].items()
    ]
    parts.append(_render_table("Answers", ("status", "body", "meaning"), answers))
    parts.append(f'<h4>Example</h4>\n<pre tabindex="0">{escape(example)}</pre>\n')
    return f'<article id="{escape(operation["operationId"])}">\n{"".join(parts)}</article>\n'


def _tell_meaning(answer: Schema) -> str:
    # the framework's own words where the handler says nothing
    return "" if answer["description"] == "Successful Response" else _render_text(answer["description"])


def _name_content(answer: Schema) -> str:
    media, content = next(iter(answer["content"].items()))
    return _name_type(content["schema"]) if "schema" in content else f"<code>{escape(media)}</code>"


def _parameters(call: _Call) -> list[Schema]:
    parameters: list[Schema] = call.operation.get("parameters", [])
    return parameters


def _find_body(operation: Schema) -> str | None:
    """Return the name of the schema of what is sent."""
    if "requestBody" not in operation:
        return None
    reference: str = operation["requestBody"]["content"]["application/json"]["schema"]["$ref"]
    return reference.removeprefix(REFERENCE)


def _render_sent(schema: Schema) -> str:
    """Return the table of a body that a client sends."""
    required = schema["required"]
    rows = [
        (f"<code>{escape(name)}</code>", *_describe_value(value, name in required))
        for name, value in schema["properties"].items()
    ]
    return _render_table("Body", ("name", "type", "default", "meaning"), rows)


def _render_answered(name: str, schema: Schema) -> str:
    """Return what describes a body, or a part of one, that the server sends."""
    rows = [
        (f"<code>{escape(field)}</code>", _name_type(value), _render_text(value.get("description", "")))
        for field, value in schema["properties"].items()
    ]
    title = f"<h3><code>{escape(name)}</code></h3>\n<p>{_render_text(schema['description'])}</p>\n"
    table = _render_table("Fields", ("name", "type", "meaning"), rows)
    return f'<article id="{escape(name)}">\n{title}{table}</article>\n'


def _describe_value(schema: Schema, is_required: bool) -> tuple[str, str, str]:
    """Return the type, the default and the meaning of a field or parameter."""
    if is_required:
        default = "required"
    elif "default" in schema:
        default = f"<code>{escape(json.dumps(schema['default']))}</code>"
    else:
        default = '<span class="quiet">none</span>'
    return _name_type(schema), default, _render_text(schema.get("description", ""))


def _name_type(schema: Schema) -> str:
    """Return what a value may be, in words, with a link where the document describes it."""
    if reference := schema.get("$ref"):
        name = escape(reference.removeprefix(REFERENCE))
        return f'<a href="#{name}"><code>{name}</code></a>'
    if choices := schema.get("anyOf"):
        return " or ".join(_name_type(each) for each in choices)
    if allowed := schema.get("enum"):
        return " or ".join(f"<code>{escape(json.dumps(each))}</code>" for each in allowed)
    if schema["type"] == "array":
        return f"list of {_name_type(schema['items'])}{_name_bounds(schema)}"
    if schema["type"] == "object":
        return f"map of names to {_name_type(schema['additionalProperties'])}"
    return f"{schema['type']}{_name_bounds(schema)}"


def _name_bounds(schema: Schema) -> str:
    for (low, high), counted in BOUNDS.items():
        if high in schema:
            bound = f"{schema[low]:n} to {schema[high]:n}" if low in schema else f"at most {schema[high]:n}"
            return f", {bound} {counted}".rstrip()
    return ""


def _write_example(call: _Call, schemas: Schema, base_url: str, needs_project: bool) -> str:
    """Return a command that makes the call with what it needs; what only its reader knows is in capitals."""
    address = base_url + re.sub(r"{(\w+)}", lambda match: match[1].upper(), call.path)
    if needs_project and any(each["in"] == "query" and each["name"] == "project_id" for each in _parameters(call)):
        address += "?project_id=PROJECT_ID"
    verb = "" if call.method == "GET" else f"-X {call.method} "
    lines = [f"curl -sS {verb}{shlex.quote(address)}"]
    if body := _find_body(call.operation):
        schema = schemas[body]
        fields = {name: schema["properties"][name]["examples"][0] for name in schema["required"]}
        if needs_project and "project_id" in schema["properties"]:
            fields["project_id"] = "PROJECT_ID"
        lines += ["-H 'Content-Type: application/json'", f"-d {shlex.quote(json.dumps(fields))}"]
    return " \\\n  ".join(lines)


def _render_table(title: str, head: Iterable[str], rows: Iterable[tuple[str, ...]]) -> str:
    """Return a table whose first column names the row; the cells are HTML."""
    headings = "".join(f'<th scope="col">{each}</th>' for each in head)
    lines = "".join(
        f'<tr><th scope="row">{first}</th>{"".join(f"<td>{cell}</td>" for cell in rest)}</tr>' for first, *rest in rows
    )
    return (
        f'<h4>{title}</h4>\n<div class="table" tabindex="0"><table><thead><tr>{headings}</tr></thead>'
        f"<tbody>{lines}</tbody></table></div>\n"
    )


def _render_text(text: str) -> str:
    """Return a description with its code marked as such."""
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(text, quote=False))
