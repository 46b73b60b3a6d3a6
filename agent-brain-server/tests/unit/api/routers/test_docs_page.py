"""What a browser is shown of the calls, and what the page may do there."""

import re

import pytest
from fastapi.testclient import TestClient


def test_the_page_is_read_without_scripts_or_other_sites(client: TestClient) -> None:
    page = client.get("/docs")
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert "<script" not in page.text
    loaded = re.findall(r'<(?:link|img|iframe|object|embed|source)\b[^>]*?(?:src|href|data)="(.*?)"', page.text)
    assert loaded == ["data:,"]  # no icon is asked for


def test_the_page_of_the_calls_can_make_none(client: TestClient) -> None:
    page = client.get("/docs")
    policy = dict(part.partition(" ")[::2] for part in page.headers["content-security-policy"].split("; "))
    assert policy["default-src"] == policy["base-uri"] == policy["form-action"] == policy["frame-ancestors"] == "'none'"
    assert policy["style-src"].startswith("'sha256-")
    assert set(policy) & {"script-src", "connect-src", "frame-src"} == set()
    assert page.headers["x-content-type-options"] == "nosniff"
    assert page.headers["referrer-policy"] == "no-referrer"


def test_the_page_is_for_who_may_ask(client: TestClient, refusal) -> None:
    assert refusal(client.get("/docs", headers={"Authorization": ""})) == (401, "unauthorized")
    assert refusal(client.get("/docs", headers={"Sec-Fetch-Site": "cross-site"})) == (403, "foreign_origin")
    typed = client.get("/docs", headers={"Sec-Fetch-Site": "none", "Sec-Fetch-Mode": "navigate"})
    assert typed.status_code == 200
    followed = client.get("/openapi.json", headers={"Sec-Fetch-Site": "same-origin", "Sec-Fetch-Mode": "navigate"})
    assert followed.status_code == 200


@pytest.mark.parametrize("path", ["/redoc", "/docs/oauth2-redirect"])
def test_the_frameworks_other_pages_are_not_served(client: TestClient, refusal, path: str) -> None:
    assert refusal(client.get(path)) == (404, "no_such_route")
