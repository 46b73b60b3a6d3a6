"""What a browser is shown of the calls, and what the page may do there."""

import json
import re

import pytest
from fastapi.testclient import TestClient

from agent_brain_server.api.routers.docs_page import SCRIPTS


def test_the_page_holds_the_description_of_the_calls(client: TestClient) -> None:
    page = client.get("/docs")
    assert page.headers["content-type"].startswith("text/html")
    described = re.search(r'"spec": (\{.*\}),$', page.text, re.MULTILINE)
    assert described is not None
    assert json.loads(described[1]) == client.get("/openapi.json").json()


def test_the_page_of_the_calls_can_make_none(client: TestClient, refusal) -> None:
    page = client.get("/docs")
    policy = dict(part.partition(" ")[::2] for part in page.headers["content-security-policy"].split("; "))
    assert policy["sandbox"] == "allow-scripts"
    assert policy["default-src"] == policy["form-action"] == "'none'"
    assert "connect-src" not in policy
    assert refusal(client.get("/health/status", headers={"Origin": "null"})) == (403, "foreign_origin")
    loaded = re.findall(r'(?:src|href)="(.*?)"', page.text)
    assert all(address.startswith((f"{SCRIPTS}/", "data:")) for address in loaded)
    assert '"supportedSubmitMethods": []' in page.text


@pytest.mark.parametrize("path", ["/redoc", "/docs/oauth2-redirect"])
def test_the_frameworks_other_pages_are_not_served(client: TestClient, refusal, path: str) -> None:
    assert refusal(client.get(path)) == (404, "no_such_route")
