"""The project of a command, and the options that are sent."""

import os
from pathlib import Path

import click
import pytest

from agent_brain_cli.options import named_options, refuse_nan, resolve_target
from agent_brain_server.errors import StateDirError
from agent_brain_server.storage_paths import default_state_dir


def test_resolve_target_searches_from_current_directory(tmp_path, monkeypatch):
    (tmp_path / "root/.claude").mkdir(parents=True)
    (tmp_path / "root/deep/inside").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "root/deep/inside")
    target = resolve_target(None, None)
    assert (target.project_root, target.explicit) == (tmp_path / "root", False)
    assert target.state_dir == default_state_dir(tmp_path / "root")


def test_resolve_target_prefers_options(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a").mkdir()
    (tmp_path / "link").symlink_to("a")
    target = resolve_target(Path("link"), Path("state"), as_json=True)
    assert target.project_root == tmp_path / "a"
    assert target.state_dir == tmp_path / "state"
    assert target.explicit
    assert target.as_json


def test_resolve_target_in_deleted_directory_raises(tmp_path, monkeypatch):
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    os.rmdir(tmp_path / "gone")
    for project_root, state_dir in ((None, None), (tmp_path, Path("state"))):
        with pytest.raises(StateDirError, match="no longer exists"):
            resolve_target(project_root, state_dir)


def test_refuse_nan_accepts_other_numbers():
    context, parameter = click.Context(click.Command("x")), click.Option(["--alpha"])
    with pytest.raises(click.BadParameter):
        refuse_nan(context, parameter, float("nan"))
    assert [refuse_nan(context, parameter, value) for value in (None, 0.0, 1.0)] == [None, 0.0, 1.0]


def test_named_options_keeps_zero_and_drops_unset():
    options = {"a": None, "b": (), "c": False, "d": 0, "e": 0.0, "f": ("x",), "g": True, "h": ""}
    assert named_options(options) == {"d": 0, "e": 0.0, "f": ["x"], "g": True, "h": ""}
