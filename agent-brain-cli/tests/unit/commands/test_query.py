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
