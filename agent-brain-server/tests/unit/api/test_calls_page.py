"""The page about the calls: everything that the OpenAPI document says, and examples that can be typed as they stand."""

import base64
import hashlib
import html
import json
import re
import shlex

import httpx
import pytest
from fastapi.testclient import TestClient

from agent_brain_server.api.reference_page import hash_style, read_style, render_page

PLACEHOLDER = re.compile(r"\b(?:JOB|CHUNK|PROJECT)_ID\b")


def read_examples(page: str) -> list[list[str]]:
    """Return the words of each example, as a shell would take them."""
    found = re.findall(r'<pre tabindex="0">(.*?)</pre>', page, re.DOTALL)
    return [shlex.split(html.unescape(example).replace("\\\n", "")) for example in found]


def follow(client: TestClient, words: list[str]) -> httpx.Response:
    """Make the call that an example makes with curl."""
    assert words[:2] == ["curl", "-sS"]
    address = next(word for word in words if word.startswith("http://"))
    options = [word for word in words[2:] if word != address]
    given = dict(zip(options[::2], options[1::2], strict=True))
    headers = dict([given["-H"].split(": ")]) if "-H" in given else {}
    return client.request(given.get("-X", "GET"), address, headers=headers, content=given.get("-d"))


@pytest.fixture
def page(client: TestClient) -> str:
    return client.get("/docs").text


def test_the_page_tells_every_call_parameter_and_field(client: TestClient, page: str) -> None:
    document = client.get("/openapi.json").json()
    text = html.unescape(re.sub(r"<style>.*?</style>|<[^>]+>", "", page, flags=re.DOTALL))
    told = []
    for path, methods in document["paths"].items():
        for method, call in methods.items():
            told += [
                f"{method.upper()} {path}",
                call["description"],
                *(each["name"] for each in call.get("parameters", ())),
            ]
    for schema in document["components"]["schemas"].values():
        for name, field in schema["properties"].items():
            told += [name, field.get("description", "")]
    assert len(told) > 150
    assert [each for each in told if each.replace("`", "") not in text] == []


def test_every_link_leads_somewhere(client: TestClient, page: str) -> None:
    anchors = re.findall(r'\bid="([^"]+)"', page)
    assert len(anchors) == len(set(anchors))
    links = set(re.findall(r'\b(?:href|src|action)="([^"]+)"', page))
    assert len(links) > 20
    for link in links - {"data:,"}:
        if link.startswith("#"):
            assert link[1:] in anchors
        else:
            assert client.get(link).status_code == 200, link


def test_the_examples_work_as_they_stand(client: TestClient, page: str) -> None:
    examples = [words for words in read_examples(page) if not PLACEHOLDER.search(" ".join(words))]
    assert len(examples) > 6
    refused = {}
    for words in examples:
        answer = follow(client, words)
        if answer.is_error:
            refused[" ".join(words)] = answer.json()["code"]
    # what the daemon alone answers, and what is not done while the job of an earlier example runs
    assert set(refused.values()) <= {"wrong_mode", "indexing_in_progress"}, refused
    assert all("/projects" in example for example, code in refused.items() if code == "wrong_mode")


def test_the_examples_tell_the_daemon_which_project_is_meant(daemon: TestClient) -> None:
    words = [" ".join(words) for words in read_examples(daemon.get("/docs").text)]
    untold = {re.sub(r".*http://[^/]+", "", each).split(" ")[0] for each in words if "PROJECT_ID" not in each}
    assert untold == {"/health", "/projects", "/metrics"}


def test_the_policy_names_the_style_sheet_that_stands_in_the_page(page: str) -> None:
    style = re.search(r"<style>(.*?)</style>", page, re.DOTALL)
    assert style is not None
    assert style[1] == read_style()
    assert hash_style() == f"'sha256-{base64.b64encode(hashlib.sha256(style[1].encode()).digest()).decode()}'"
    assert not re.search(r"url\(|@import|//", style[1])  # nothing that has to be loaded


def test_what_the_document_says_is_text_to_the_page(client: TestClient) -> None:
    hostile = json.loads(
        json.dumps(client.get("/openapi.json").json()).replace("Forget everything", "<script>x</script>")
    )
    page = render_page(hostile, 'http://127.0.0.1:1"><script>', needs_project=False)
    assert "<script" not in page
    assert "&lt;script&gt;x&lt;/script&gt;" in page
