"""The API reference page: complete, without scripts, and isolated by its policy."""

import base64
import hashlib
import html
import json
import re

import pytest
from fastapi.testclient import TestClient

from agent_brain_server.api.routers.docs import render_page


@pytest.fixture
def page(client: TestClient) -> str:
    return client.get("/docs").text


def test_page_lists_every_endpoint_parameter_and_field(client: TestClient, page: str) -> None:
    document = client.get("/openapi.json").json()
    text = html.unescape(re.sub(r"<style>.*?</style>|<[^>]+>", "", page, flags=re.DOTALL))
    expected = []
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            expected += [f"{method.upper()} {path}", operation["description"]]
            expected += [each["name"] for each in operation.get("parameters", ())]
    for schema in document["components"]["schemas"].values():
        for name, field in schema["properties"].items():
            expected += [name, field.get("description", "")]
    assert len(expected) > 150
    assert [each for each in expected if each.replace("`", "") not in text] == []


def test_page_links_lead_to_an_anchor_or_a_route(client: TestClient, page: str) -> None:
    anchors = re.findall(r'\bid="([^"]+)"', page)
    assert len(anchors) == len(set(anchors))
    links = set(re.findall(r'\b(?:href|src|action)="([^"]+)"', page)) - {"data:,"}
    assert len(links) > 10
    for link in links:
        assert link[1:] in anchors if link.startswith("#") else client.get(link).status_code == 200, link


def test_page_has_no_scripts_and_loads_nothing(client: TestClient) -> None:
    page = client.get("/docs")
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert "<script" not in page.text
    loaded = re.findall(r'<(?:link|img|iframe|object|embed|source)\b[^>]*?(?:src|href|data)="(.*?)"', page.text)
    assert loaded == ["data:,"]  # so that no icon is requested
    style = re.search(r"<style>(.*?)</style>", page.text, re.DOTALL)
    assert style is not None
    assert not re.search(r"url\(|@import|//", style[1])


def test_page_policy_allows_its_style_sheet_only(client: TestClient) -> None:
    page = client.get("/docs")
    policy = dict(part.partition(" ")[::2] for part in page.headers["content-security-policy"].split("; "))
    assert policy["default-src"] == policy["base-uri"] == policy["form-action"] == policy["frame-ancestors"] == "'none'"
    style = re.search(r"<style>(.*?)</style>", page.text, re.DOTALL)
    assert style is not None
    digest = base64.b64encode(hashlib.sha256(style[1].encode()).digest()).decode()
    assert policy["style-src"] == f"'sha256-{digest}'"
    assert set(policy) & {"script-src", "connect-src", "frame-src"} == set()
    assert page.headers["x-content-type-options"] == "nosniff"
    assert page.headers["referrer-policy"] == "no-referrer"


def test_page_escapes_the_document(client: TestClient) -> None:
    text = json.dumps(client.get("/openapi.json").json()).replace("Remove everything", "<script>x</script>")
    page = render_page(json.loads(text))
    assert "<script" not in page
    assert "&lt;script&gt;x&lt;/script&gt;" in page


def test_page_requires_access(client: TestClient, refusal) -> None:
    assert refusal(client.get("/docs", headers={"Authorization": ""})) == (401, "unauthorized")
    assert refusal(client.get("/docs", headers={"Sec-Fetch-Site": "cross-site"})) == (403, "foreign_origin")
    typed = client.get("/docs", headers={"Sec-Fetch-Site": "none", "Sec-Fetch-Mode": "navigate"})
    assert typed.status_code == 200
    followed = client.get("/openapi.json", headers={"Sec-Fetch-Site": "same-origin", "Sec-Fetch-Mode": "navigate"})
    assert followed.status_code == 200


@pytest.mark.parametrize("path", ["/redoc", "/docs/oauth2-redirect"])
def test_pages_of_the_framework_are_not_served(client: TestClient, refusal, path: str) -> None:
    assert refusal(client.get(path)) == (404, "no_such_route")
