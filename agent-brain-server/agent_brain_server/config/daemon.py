"""Load the settings of the shared daemon, and the settings that it uses for each project."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from agent_brain_server.config.settings import (
    DEFAULT_ORIGIN,
    Layer,
    ProjectConfig,
    Settings,
    make_flag_layer,
    merge_layers,
    merge_project,
    read_environment_layer,
    read_file_layer,
    read_own_file,
)
from agent_brain_server.runtime import SharedConfig
from agent_brain_server.storage_paths import DATA_DIR, LOG_DIR, config_path, global_config_path, shared_config_path

DAEMON_KEYS = (
    *("bind_host", "port", "token", "log_level", "idle_stop_seconds", "embedding_model"),
    *("vector_engine", "chroma_url", "chroma_token"),
)
"""Settings of the daemon that override the files of its projects."""

FIELDS = {**ProjectConfig.model_fields, **SharedConfig.model_fields}


@dataclass(frozen=True, slots=True)
class DaemonSettings:
    """Effective settings of the daemon.

    Attributes:
        server: Address, token, log and limits of the process itself.
        shared: Settings that only a daemon has.
        origins: Source of each value, by key of either model.
    """

    server: ProjectConfig
    shared: SharedConfig
    origins: Mapping[str, str]
    _below: tuple[Layer, ...]
    _above: tuple[Layer, ...]

    @classmethod
    def load(cls, overrides: Mapping[str, Any] | None = None) -> Self:
        """Return the effective settings: flags, environment, `shared_config.json`, the user's file, defaults.

        Args:
            overrides: Values of flags by setting; `None` if the flag was not given.

        Raises:
            ConfigError: A key is unknown or a value is invalid; the message names source, key and allowed values.
        """
        shared_file = read_file_layer(shared_config_path(), SharedConfig.model_fields)
        below: tuple[Layer, ...] = (
            {"port": (SharedConfig.model_fields["port"].default, DEFAULT_ORIGIN)},
            read_file_layer(global_config_path(), ProjectConfig.model_fields),
            shared_file,
        )
        above: tuple[Layer, ...] = (read_environment_layer(FIELDS), make_flag_layer(overrides or {}, FIELDS))
        own: Layer = {
            "mode": ("shared", "the daemon"),
            "data_dir": (DATA_DIR, "the daemon"),
            "log_dir": (LOG_DIR, "the daemon"),
        }
        server, server_origins = merge_layers(ProjectConfig, [*below, *above, own])
        shared, shared_origins = merge_layers(SharedConfig, [*below, *above])
        return cls(server, shared, {**server_origins, **shared_origins}, below, above)

    def values(self) -> dict[str, Any]:
        """Return every setting of the daemon by key."""
        return {**self.server.model_dump(mode="json"), **self.shared.model_dump(mode="json")}

    def load_project(self, state_dir: Path) -> Settings:
        """Return the settings of a project: its `config.json`, except for the settings that the daemon decides.

        Args:
            state_dir: State directory of the project.

        Raises:
            ConfigError: The project's file has an unknown key or an invalid value.
        """
        daemon: Layer = {key: (getattr(self.server, key), "the daemon") for key in DAEMON_KEYS}
        directories: Layer = {"data_dir": (DATA_DIR, "the daemon"), "log_dir": (LOG_DIR, "the daemon")}
        own_file = read_own_file(config_path(state_dir))
        return merge_project(self._below, own_file, [*self._above, daemon, directories])
