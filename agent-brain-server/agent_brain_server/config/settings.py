"""Load the settings of a project from flags, environment, project file, user's file and defaults, in this order.

The shared daemon has settings of the same kind, and decides some settings for all of its projects.

`ProjectConfig` defines each setting with its default and limits. Error messages quote `description` as what is allowed.
"""

import contextlib
import difflib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic.fields import FieldInfo

from agent_brain_server.config.trust import (
    SECRET_KEYS,
    Ignored,
    ProjectFile,
    find_ignored,
    find_withheld,
    read_project_file,
    renew_trust,
)
from agent_brain_server.errors import ConfigError, StateDirError
from agent_brain_server.models import (
    DEFAULT_CHUNK_OVERLAP,
    DEFAULT_CHUNK_SIZE,
    DEFAULT_MODEL,
    LOOPBACK_HOST,
    MAX_CHUNK_SIZE,
    MAX_PORT,
    MIN_CHUNK_SIZE,
    MODES,
    Mode,
    VectorEngineName,
)
from agent_brain_server.runtime import SharedConfig
from agent_brain_server.storage_paths import (
    DATA_DIR,
    LOG_DIR,
    config_path,
    global_config_path,
    prepare_state_dir,
    shared_config_path,
)
from agent_brain_server.support.atomic_file import (
    UnreadableDocumentError,
    read_document,
    serialize_document,
    write_atomic,
)
from agent_brain_server.support.http_client import find_chroma_fault, is_loopback

ENVIRONMENT_PREFIX = "AGENT_BRAIN_"
FLAG_ORIGIN = "flag"
DEFAULT_ORIGIN = "default"

BOOLEAN_WORDS = {"true": True, "1": True, "false": False, "0": False}
"""Values of a boolean setting in a flag or an environment variable."""

DIRECTORY = r"^[^\x00]+$"  # no path may contain a null character
SERVER_URL = r"^http://(\[[0-9A-Fa-f:.]+\]|[^/\s@:?#\[\]]+)(:[0-9]{1,5})?/?$"  # host and port, nothing else

LogLevel = Literal["debug", "info", "warning", "error"]

Config = TypeVar("Config", bound=BaseModel)
Fields = Mapping[str, FieldInfo]
Layer = Mapping[str, tuple[Any, str]]
"""Value and origin of settings, by key."""


class ProjectConfig(BaseModel):
    """Settings of a project's server."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, defer_build=True)

    mode: Annotated[Mode, Field(description='"project" or "shared"')] = "project"
    bind_host: Annotated[str, Field(min_length=1, description="an IP address or host name to listen on")] = (
        LOOPBACK_HOST
    )
    port: Annotated[int, Field(ge=0, le=MAX_PORT, description=f"a port from 0 (the system chooses) to {MAX_PORT}")] = 0
    data_dir: Annotated[str, Field(pattern=DIRECTORY, description="a directory, relative to the state directory")] = (
        DATA_DIR
    )
    log_dir: Annotated[str, Field(pattern=DIRECTORY, description="a directory, relative to the state directory")] = (
        LOG_DIR
    )
    shared_server_url: Annotated[
        str | None, Field(pattern=SERVER_URL, description="the URL at which the shared daemon must answer, or null")
    ] = None
    embedding_model: Annotated[str, Field(min_length=1, description="the name of an embedding model")] = DEFAULT_MODEL
    chunk_size: Annotated[
        int,
        Field(
            ge=MIN_CHUNK_SIZE,
            le=MAX_CHUNK_SIZE,
            description=f"tokens of a chunk, from {MIN_CHUNK_SIZE} to {MAX_CHUNK_SIZE}",
        ),
    ] = DEFAULT_CHUNK_SIZE
    chunk_overlap: Annotated[int, Field(ge=0, description="tokens, from 0 to less than chunk_size")] = (
        DEFAULT_CHUNK_OVERLAP
    )
    max_file_bytes: Annotated[
        int, Field(ge=1, le=100_000_000, description="bytes, from 1 to 100000000; larger files are not indexed")
    ] = 1_000_000
    index_secrets: Annotated[bool, Field(description="true or false: whether private keys and logins are indexed")] = (
        False
    )
    index_generated: Annotated[
        bool, Field(description="true or false: whether code is indexed whose header says that it is generated")
    ] = False
    idle_stop_seconds: Annotated[
        int,
        Field(ge=0, description="seconds without a request after which a server that an agent started ends; 0: never"),
    ] = 10_800
    watch: Annotated[bool, Field(description="true or false: whether the index follows changes by itself")] = True
    log_level: Annotated[LogLevel, Field(description="one of " + ", ".join(get_args(LogLevel)))] = "info"
    vector_engine: Annotated[
        VectorEngineName | None,
        Field(description='"exact", "chroma", or null: "chroma" if chroma_url is set, else "exact"'),
    ] = None
    chroma_url: Annotated[str | None, Field(description="the URL of a Chroma server for the vectors, or null")] = None
    chroma_token: Annotated[
        str | None, Field(min_length=1, repr=False, description="the secret that the Chroma server wants, or unset")
    ] = None
    token: Annotated[
        str | None, Field(min_length=16, repr=False, description="a secret of at least 16 characters, or unset")
    ] = None

    @property
    def effective_vector_engine(self) -> VectorEngineName:
        """The engine that stores the vectors: the one that is set, or `chroma` if only a Chroma server is set."""
        return self.vector_engine or ("exact" if self.chroma_url is None else "chroma")

    @model_validator(mode="after")
    def _check_together(self) -> Self:
        if self.chunk_overlap >= self.chunk_size:
            raise ValueError(f"chunk_overlap ({self.chunk_overlap}) must be less than chunk_size ({self.chunk_size})")
        if self.token is None and not is_loopback(self.bind_host):
            raise ValueError(
                f"bind_host {self.bind_host!r} lets other machines connect, which requires a token: "
                f"set {ENVIRONMENT_PREFIX}TOKEN, or use {LOOPBACK_HOST}"
            )
        if self.chroma_url is not None and (fault := find_chroma_fault(self.chroma_url, self.chroma_token)):
            raise ValueError(fault)
        return self


@dataclass(frozen=True, slots=True)
class Settings:
    """Effective settings and their origins.

    Attributes:
        config: The values.
        origins: Origin by key: `flag`, the name of an environment variable, the path of a file, or `default`.
        ignored: Settings in the project's file that are ignored because the user does not trust it.
    """

    config: ProjectConfig
    origins: Mapping[str, str]
    ignored: Ignored | None = None


DAEMON_KEYS = (
    *("bind_host", "port", "token", "log_level", "idle_stop_seconds", "embedding_model"),
    *("vector_engine", "chroma_url", "chroma_token"),
)
"""Settings of the daemon that override the files of its projects."""

DAEMON_FIELDS = {**ProjectConfig.model_fields, **SharedConfig.model_fields}


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
        above: tuple[Layer, ...] = (
            read_environment_layer(DAEMON_FIELDS),
            make_flag_layer(overrides or {}, DAEMON_FIELDS),
        )
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


def load_project_config(state_dir: Path, overrides: Mapping[str, Any] | None = None) -> ProjectConfig:
    """Return the settings of a project.

    Args:
        state_dir: State directory of the project, with or without a config.json.
        overrides: Values of flags by setting; `None` if the flag was not given. Text is converted.

    Raises:
        ConfigError: A key is unknown or a value is invalid; the message names the source, the key and allowed values.
    """
    return load_settings(state_dir, overrides).config


def load_settings(state_dir: Path, overrides: Mapping[str, Any] | None = None) -> Settings:
    """Return the settings of a project with the origin of each value.

    Raises:
        ConfigError: A key is unknown or a value is invalid.
    """
    fields = ProjectConfig.model_fields
    return merge_project(
        below=[read_file_layer(global_config_path(), fields)],
        file=read_own_file(config_path(state_dir)),
        above=[read_environment_layer(fields), make_flag_layer(overrides or {}, fields)],
    )


def merge_project(below: Sequence[Layer], file: ProjectFile | None, above: Sequence[Layer]) -> Settings:
    """Merge a project's file with the layers below and above it.

    A secret is omitted if it would be sent to an address in the file and the user has not trusted the file with it.

    Args:
        below: Layers that the file overrides, lowest precedence first.
        file: The project's own file.
        above: Layers that override the file.

    Raises:
        ConfigError: A value is invalid.
    """
    own: Layer = {} if file is None else {key: (value, str(file.path)) for key, value in file.effective.items()}
    overridden = {key for layer in above for key in layer}
    layers = [*below, own, *above]
    if file is None:
        return Settings(*merge_layers(ProjectConfig, layers))
    withheld = find_withheld(file, {key for layer in layers for key in layer}, own.keys() - overridden)
    kept = [{key: value for key, value in layer.items() if key not in withheld} for layer in layers]
    return Settings(*merge_layers(ProjectConfig, kept), find_ignored(file, overridden, withheld))


def write_project_config(state_dir: Path, *, mode: Mode | None = None, force: bool = False) -> bool:
    """Create config.json. Return `False` if the file exists; it is kept unless `force` is set.

    No defaults are written, because they would override what the user sets later for all projects. Only the mode is
    written, if it is given.

    Args:
        state_dir: Absolute.
        mode: Mode to set; `None` keeps the current one.
        force: Replace an existing file. Its mode is kept unless another one is given.

    Raises:
        StateDirError: The state directory cannot be created or written.
    """
    prepare_state_dir(state_dir)
    path = config_path(state_dir)
    if path.exists() and not force:
        return False
    with contextlib.suppress(UnreadableDocumentError):
        kept = (read_document(path) or {}).get("mode")
        mode = mode or (kept if kept in MODES else None)
    _write_config(path, {"mode": mode} if mode else {})
    return True


def change_project_mode(state_dir: Path, mode: Mode) -> bool:
    """Set the mode in an existing config.json. Return `False` if it is already set.

    A file that the user trusts remains trusted.

    Args:
        state_dir: Absolute.
        mode: The mode to set.

    Raises:
        ConfigError: The file cannot be parsed.
        StateDirError: The file cannot be written.
    """
    path = config_path(state_dir)
    file = _read_project_file(path)
    values = {} if file is None else file.values
    if values.get("mode") == mode:
        return False
    document = {**values, "mode": mode}
    _write_config(path, document)
    if file is not None and file.is_trusted:
        renew_trust(file, serialize_document(document))
    return True


def _write_config(path: Path, document: dict[str, Any]) -> None:
    try:
        write_atomic(path, document)
    except OSError as exc:
        raise StateDirError(f"{path} cannot be written: {exc.strerror}.") from exc


def merge_layers(model: type[Config], layers: Sequence[Layer]) -> tuple[Config, dict[str, str]]:
    """Return the effective settings and the origin of each. A later layer overrides an earlier one.

    Args:
        model: Model of the settings; other keys of a layer are ignored.
        layers: Lowest precedence first.

    Raises:
        ConfigError: A value is invalid.
    """
    values: dict[str, Any] = {}
    origins = dict.fromkeys(model.model_fields, DEFAULT_ORIGIN)
    for layer in layers:
        for key, (value, origin) in layer.items():
            if key in origins:
                values[key] = value
                origins[key] = origin
    try:
        return model.model_validate(values), origins
    except ValidationError as exc:
        raise _explain(exc, origins, model.model_fields) from exc


def read_file_layer(path: Path, fields: Fields) -> Layer:
    """Return the settings in a file of the user; empty if the file does not exist.

    Raises:
        ConfigError: The file is damaged, or has an unknown key.
    """
    try:
        document = read_document(path)
    except UnreadableDocumentError as exc:
        raise ConfigError(f"{exc}.", hint=f"Correct {path}, or remove it.") from exc
    for key in document or {}:
        _check_key(key, str(path), fields)
    return {key: (value, str(path)) for key, value in (document or {}).items()}


def read_own_file(path: Path) -> ProjectFile | None:
    """Return a project's settings file after checking its keys and types; `None` if there is no file.

    Raises:
        ConfigError: The file is damaged, or has an unknown key, a secret or a value of a wrong type.
    """
    file = _read_project_file(path)
    if file is None:
        return None
    for key in file.values:
        _check_key(key, str(path), ProjectConfig.model_fields)
        _check_secret(key, path)
    if file.restricted and not file.is_trusted:
        _check_types(file)
    return file


def _read_project_file(path: Path) -> ProjectFile | None:
    try:
        return read_project_file(path, {key: field.default for key, field in ProjectConfig.model_fields.items()})
    except UnreadableDocumentError as exc:
        raise ConfigError(f"{exc}.", hint=f"Correct {path}, or remove it.") from exc


def check_own_file(file: ProjectFile) -> None:
    """Check that a project's file, as if it were trusted, is compatible with the user's other settings.

    Raises:
        ConfigError: It is not.
    """
    fields = ProjectConfig.model_fields
    merge_project([read_file_layer(global_config_path(), fields)], file, [read_environment_layer(fields)])


def list_secrets() -> set[str]:
    """Return the keys of the secrets that the user has set in the global file or the environment.

    Raises:
        ConfigError: The user's own file is damaged.
    """
    fields = ProjectConfig.model_fields
    layers = (read_file_layer(global_config_path(), fields), read_environment_layer(fields))
    return {key for layer in layers for key in layer if key in SECRET_KEYS}


def _check_types(file: ProjectFile) -> None:
    """Refuse values of a wrong type even in an untrusted file, whose settings are ignored."""
    try:
        ProjectConfig.model_validate(file.restricted)
    except ValidationError as exc:
        if exc.errors()[0]["loc"]:
            raise _explain(exc, dict.fromkeys(file.restricted, str(file.path)), ProjectConfig.model_fields) from exc


def _check_secret(key: str, path: Path) -> None:
    if key in SECRET_KEYS:
        raise ConfigError(
            f"{path}: {key} must not be in a file that is shared through version control.",
            hint=f"Set the environment variable {ENVIRONMENT_PREFIX}{key.upper()} instead.",
        )


def read_environment_layer(fields: Fields) -> Layer:
    """Return the settings in environment variables."""
    layer: dict[str, tuple[Any, str]] = {}
    for key in fields:
        variable = ENVIRONMENT_PREFIX + key.upper()
        text = os.environ.get(variable)
        if text:
            layer[key] = (_convert_text(key, text, fields), variable)
    return layer


def make_flag_layer(overrides: Mapping[str, Any], fields: Fields) -> Layer:
    """Return the settings in flags.

    Raises:
        ConfigError: A key is unknown.
    """
    for key in overrides:
        _check_key(key, FLAG_ORIGIN, fields)
    return {
        key: (_convert_text(key, value, fields) if isinstance(value, str) else value, FLAG_ORIGIN)
        for key, value in overrides.items()
        if value is not None
    }


def _convert_text(key: str, text: str, fields: Fields) -> int | bool | str:
    annotation = fields[key].annotation
    if annotation is bool:
        return BOOLEAN_WORDS.get(text.lower(), text)
    if annotation is not int:
        return text
    try:
        return int(text)
    except ValueError:
        return text  # refused by the model, with what is allowed


def _check_key(key: str, origin: str, fields: Fields) -> None:
    if key in fields:
        return
    near = difflib.get_close_matches(key, fields, n=1)
    suggestion = f' Did you mean "{near[0]}"?' if near else ""
    raise ConfigError(
        f'{origin}: "{key}" is not a setting.{suggestion}',
        hint="Settings are: " + ", ".join(fields) + ".",
        code="unknown_setting",
    )


def _explain(error: ValidationError, origins: Mapping[str, str], fields: Fields) -> ConfigError:
    problem = error.errors()[0]
    if not problem["loc"]:
        # a check of several settings: its message names them
        text = str(problem["ctx"]["error"])
        named = next(
            (origin for key, origin in origins.items() if key in text and origin != DEFAULT_ORIGIN), "settings"
        )
        return ConfigError(f"{named}: {text}.")
    key = str(problem["loc"][0])
    value = "" if key in SECRET_KEYS else f" {problem['input']!r}"
    allowed = fields[key].description
    return ConfigError(f"{origins[key]}: {key}{value} is not allowed. Allowed: {allowed}.", hint=f"Correct {key}.")
