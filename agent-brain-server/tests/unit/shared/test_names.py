"""Names of registered projects."""

import pytest

from agent_brain_server.errors import InvalidRequestError, NotFoundError
from agent_brain_server.shared.names import choose_projects

ROOTS = {"p_1": "/home/me/shop", "p_2": "/home/me/fork/shop", "p_3": "/home/me/lib"}


@pytest.mark.parametrize(
    ("names", "chosen"),
    [
        ([], ["p_2", "p_3", "p_1"]),
        (["lib"], ["p_3"]),
        (["lib", "p_3", "/home/me/lib"], ["p_3"]),
        (["/home/me/shop"], ["p_1"]),
        (["p_2", "lib"], ["p_2", "p_3"]),
    ],
)
def test_choose_projects_by_name_root_or_id(names, chosen):
    assert choose_projects(ROOTS, names) == chosen


@pytest.mark.parametrize(
    ("name", "error"), [("nowhere", NotFoundError), ("", NotFoundError), ("shop", InvalidRequestError)]
)
def test_choose_projects_names_the_registered_ones(name, error):
    with pytest.raises(error) as caught:
        choose_projects(ROOTS, [name])
    assert "/home/me/fork/shop" in caught.value.hint
