"""Questions as they are sent, and what is said where there is no answer."""

import click
import pytest

from agent_brain_cli.client import Client
from agent_brain_cli.commands.query import describe_absence, join_words
from agent_brain_cli.indexing import wait_for_job
from agent_brain_cli.options import named_options
from agent_brain_cli.servers import connect

NO_OPTIONS = {"languages": (), "source_types": (), "file_paths": (), "similarity_threshold": None}


def test_join_words_makes_one_query():
    assert join_words(("a", "b c")) == "a b c"


def test_named_options_omits_options_not_given():
    assert named_options({**NO_OPTIONS, "explain": False}) == {}
    assert named_options({**NO_OPTIONS, "alpha": 0.0, "languages": ("go",)}) == {"alpha": 0.0, "languages": ["go"]}


@pytest.mark.parametrize("question", ["", "  \t", "\udcff"])
def test_join_words_without_text_is_a_usage_error(question):
    with pytest.raises(click.UsageError):
        join_words((question,))


def test_absence_has_a_hint_that_fits():
    assert "agent-brain status" in describe_absence(dict(NO_OPTIONS))
    for name, value in {"languages": ("go",), "similarity_threshold": 0.9}.items():
        assert "Leave out a filter" in describe_absence({**NO_OPTIONS, name: value})


def test_an_answer_is_shown_and_given_to_programs(ask):
    shown = ask("query", "where", "is", "the", "turnstile")
    assert shown.code == 0
    assert shown.out.startswith("src/locking.py:")
    document = ask("query", "turnstile", "--json", "-k", "1", "--mode", "bm25").json
    assert (len(document["results"]), document["mode"]) == (1, "bm25")


def test_filters_and_explanations_are_passed_on(ask):
    found = ask("query", "turnstile wombat", "--path", "*.md", "--type", "doc", "--explain", "--json").json["results"]
    assert {result["source"] for result in found} == {"guide.md"}
    assert found[0]["explanation"]
    nothing = ask("query", "turnstile", "--language", "golang")
    assert (nothing.code, nothing.out) == (0, "")
    assert "Leave out a filter" in nothing.err
    assert ask("query", "x", "--path", "[z-a]").code == 4


def test_unknown_language_is_refused_with_those_allowed(ask):
    refused = ask("query", "turnstile", "--language", "pyhton")
    assert (refused.code, refused.out) == (2, "")
    assert "Did you mean 'python'?" in refused.err
    assert "typescript" in refused.err
    assert ask("query", "turnstile", "--language", "py", "--json").json["results"][0]["language"] == "python"


def test_a_project_that_was_never_indexed_is_indexed_first(run):
    try:
        answer = run("query", "turnstile", "--json")
        assert answer.code == 0, answer.err
        assert answer.json["results"]
        assert "Starting the server" in answer.err
        assert "was never indexed" in answer.err
    finally:
        run("stop", "--force")


@pytest.mark.parametrize("milestone", ["keywords", "end"])
def test_query_overtaken_by_a_first_index_asks_again(run, monkeypatch, milestone):
    class OvertakenClient(Client):
        """Another command's first index reaches its milestone between this one's query and its look at the status."""

        def get(self, path):
            if path == "/health/status":
                other = Client(self.state)
                wait_for_job(other, other.post("/index", {"folder_path": "."})["job_id"], milestone)
            return super().get(path)

    monkeypatch.setattr("agent_brain_cli.commands.query.connect", lambda target: OvertakenClient(connect(target).state))
    try:
        answer = run("query", "turnstile", "--json")
        assert answer.code == 0, answer.err
        assert answer.json["results"]
    finally:
        run("stop", "--force")
