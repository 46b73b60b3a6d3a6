"""The request of `agent-brain query`, and its hints."""

import click
import pytest

from agent_brain_cli.commands.query import describe_no_results, join_words
from agent_brain_cli.options import named_options

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


def test_describe_no_results_suggests_a_next_step():
    assert "agent-brain status" in describe_no_results(dict(NO_OPTIONS))
    for name, value in {"languages": ("go",), "similarity_threshold": 0.9}.items():
        assert "without a filter" in describe_no_results({**NO_OPTIONS, name: value})
<<<<<<< HEAD
=======


def test_query_prints_text_or_json(ask):
    shown = ask("query", "where", "is", "the", "turnstile")
    assert shown.code == 0
    assert shown.out.startswith("src/locking.py:")
    document = ask("query", "turnstile", "--json", "-k", "1", "--mode", "bm25").json
    assert (len(document["results"]), document["mode"]) == (1, "bm25")


def test_query_sends_filters_and_explain(ask):
    found = ask("query", "turnstile wombat", "--path", "*.md", "--type", "doc", "--explain", "--json").json["results"]
    assert {result["source"] for result in found} == {"guide.md"}
    assert found[0]["explanation"]
    nothing = ask("query", "turnstile", "--language", "golang")
    assert (nothing.code, nothing.out) == (0, "")
    assert "without a filter" in nothing.err
    assert ask("query", "x", "--path", "[z-a]").code == 4


def test_query_of_unknown_language_lists_the_known(ask):
    refused = ask("query", "turnstile", "--language", "pyhton")
    assert (refused.code, refused.out) == (2, "")
    assert "Did you mean 'python'?" in refused.err
    assert "typescript" in refused.err
    assert ask("query", "turnstile", "--language", "py", "--json").json["results"][0]["language"] == "python"


@pytest.mark.process
def test_query_starts_the_server_and_indexes_first(run):
    try:
        answer = run("query", "turnstile", "--json")
        assert answer.code == 0, answer.err
        assert answer.json["results"]
        assert "Starting the server" in answer.err
        assert "was never indexed" in answer.err
    finally:
        run("stop", "--force")


@pytest.mark.process
@pytest.mark.parametrize("milestone", ["keywords", "end"])
def test_query_asks_again_after_a_concurrent_first_index(run, monkeypatch, milestone):
    class OvertakenClient(Client):
        """Another command's first index reaches its milestone between this query and its request for the status."""

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
>>>>>>> d76a135 (Mark further tests that start processes)
