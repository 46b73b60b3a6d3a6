"""The settings of a project: flags, environment, project file, user's file, defaults, in this order.

`ProjectConfig` is the table: a field, its default, its limits, and in `description` what is allowed, in the words that
an error message uses.
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
    find_chroma_fault,
    find_ignored,
    find_withheld,
    is_loopback,
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
)
from agent_brain_server.storage_paths import DATA_DIR, LOG_DIR, config_path, global_config_path, prepare_state_dir
from agent_brain_server.support.atomic_file import (
    UnreadableDocumentError,
    read_document,
    serialize_document,
    write_atomic,
)

ENVIRONMENT_PREFIX = "AGENT_BRAIN_"
FLAG_ORIGIN = "flag"
DEFAULT_ORIGIN = "default"

BOOLEAN_WORDS = {"true": True, "1": True, "false": False, "0": False}
"""How a flag or an environment variable says yes and no."""

SERVER_URL = r"^http://(\[[0-9A-Fa-f:.]+\]|[^/\s@:?#\[\]]+)(:[0-9]{1,5})?/?$"  # host and port, nothing else

LogLevel = Literal["debug", "info", "warning", "error"]

Config = TypeVar("Config", bound=BaseModel)
Fields = Mapping[str, FieldInfo]
Layer = Mapping[str, tuple[Any, str]]
"""Settings by key: value and origin."""


class ProjectConfig(BaseModel):
    """What can be set for one project's server."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, defer_build=True)

    mode: Annotated[Mode, Field(description='"project" or "shared"')] = "project"
    bind_host: Annotated[str, Field(min_length=1, description="an IP address or host name to listen on")] = (
        LOOPBACK_HOST
    )
    port: Annotated[int, Field(ge=0, le=MAX_PORT, description=f"a port from 0 (the system chooses) to {MAX_PORT}")] = 0
    data_dir: Annotated[str, Field(min_length=1, description="a directory, relative to the state directory")] = DATA_DIR
    log_dir: Annotated[str, Field(min_length=1, description="a directory, relative to the state directory")] = LOG_DIR
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
    idle_stop_seconds: Annotated[
        int,
        Field(ge=0, description="seconds without a request after which a server that an agent started ends; 0: never"),
    ] = 10_800
    watch: Annotated[bool, Field(description="true or false: whether the index follows changes by itself")] = True
    log_level: Annotated[LogLevel, Field(description="one of " + ", ".join(get_args(LogLevel)))] = "info"
    chroma_url: Annotated[str | None, Field(description="the URL of a Chroma server for the vectors, or null")] = None
    chroma_token: Annotated[
        str | None, Field(min_length=1, repr=False, description="the secret that the Chroma server wants, or unset")
    ] = None
    token: Annotated[
        str | None, Field(min_length=16, repr=False, description="a secret of at least 16 characters, or unset")
    ] = None

    @model_validator(mode="after")
    def _check_together(self) -> Self:
        if self.chunk_overlap >= self.chunk_size:
            raise ValueError(f"chunk_overlap ({self.chunk_overlap}) must be less than chunk_size ({self.chunk_size})")
        if self.token is None and not is_loopback(self.bind_host):
            raise ValueError(
                f"bind_host {self.bind_host!r} lets other machines in, which needs a token: "
                f"set {ENVIRONMENT_PREFIX}TOKEN, or use {LOOPBACK_HOST}"
            )
        if self.chroma_url is not None and (fault := find_chroma_fault(self.chroma_url, self.chroma_token)):
            raise ValueError(fault)
        return self


@dataclass(frozen=True, slots=True)
class Settings:
    """The settings that won, and where each came from.

    Attributes:
        config: The values.
        origins: By key: `flag`, the name of an environment variable, the path of a file, or `default`.
        ignored: What of the project's file does not take effect because the user does not trust it.
    """

    config: ProjectConfig
    origins: Mapping[str, str]
    ignored: Ignored | None = None


def load_project_config(state_dir: Path, overrides: Mapping[str, Any] | None = None) -> ProjectConfig:
    """Return the settings of the project whose state directory is `state_dir`.

    Args:
        state_dir: Where config.json may lie.
        overrides: Values of flags by setting; None means that the flag was not given. Text is converted.

    Raises:
        ConfigError: A key is unknown or a value is not allowed; the message names where, which, and what is allowed.
    """
    return load_settings(state_dir, overrides).config


def load_settings(state_dir: Path, overrides: Mapping[str, Any] | None = None) -> Settings:
    """Like `load_project_config`, with the origin of each value.

    Raises:
        ConfigError: A key is unknown or a value is not allowed.
    """
    fields = ProjectConfig.model_fields
    return merge_project(
        below=[read_file_layer(global_config_path(), fields)],
        file=read_own_file(config_path(state_dir)),
        above=[read_environment_layer(fields), make_flag_layer(overrides or {}, fields)],
    )


def merge_project(below: Sequence[Layer], file: ProjectFile | None, above: Sequence[Layer]) -> Settings:
    """Return the settings of a project: its own file between what the user has set for all projects and for this run.

    A secret is left out if its address would be the file's and the user has not trusted the file with that secret.

    Args:
        below: Layers that the file overrides, the weakest first.
        file: The project's own file.
        above: Layers that override the file.

    Raises:
        ConfigError: A value is not allowed.
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
    """Create config.json; return `False` if it exists already, in which case it stays unless `force`.

    Nothing that is in force anyway is written down: a default in the file would override what the user sets later for
    all projects. That leaves the mode, if it is named.

    Args:
        state_dir: Absolute.
        mode: Whether the project has its own server or is served by the shared daemon; `None` keeps what holds.
        force: Replace an existing file; a mode in it is kept unless another one is named.

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
    """Set the mode in an existing config.json, and nothing else; return `False` if it says so already.

    A file that the user trusts stays trusted.

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
    """Return the settings that the last layer which names each of them gives, and the origin of each.

    Args:
        model: The table of the settings; what a layer names besides is left out.
        layers: The weakest first.

    Raises:
        ConfigError: A value is not allowed.
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
    """Return the settings in a file of the user's own; none if it does not exist.

    Raises:
        ConfigError: The file is torn, or names something that is no setting.
    """
    try:
        document = read_document(path)
    except UnreadableDocumentError as exc:
        raise ConfigError(f"{exc}.", hint=f"Correct {path}, or remove it.") from exc
    for key in document or {}:
        _check_key(key, str(path), fields)
    return {key: (value, str(path)) for key, value in (document or {}).items()}


def read_own_file(path: Path) -> ProjectFile | None:
    """Return a project's own file, with every key and type in it checked; `None` if there is no file.

    Raises:
        ConfigError: The file is torn, or names something that is no setting, a secret, or a value of a wrong type.
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
    """Return if a project's file, trusted as it says, goes together with the user's other settings.

    Raises:
        ConfigError: It does not.
    """
    fields = ProjectConfig.model_fields
    merge_project([read_file_layer(global_config_path(), fields)], file, [read_environment_layer(fields)])


def list_secrets() -> set[str]:
    """Return the keys of the secrets that the user has set, for all projects or in the environment.

    Raises:
        ConfigError: The user's own file is damaged.
    """
    fields = ProjectConfig.model_fields
    layers = (read_file_layer(global_config_path(), fields), read_environment_layer(fields))
    return {key for layer in layers for key in layer if key in SECRET_KEYS}


def _check_types(file: ProjectFile) -> None:
    """Refuse what no setting may be, though it is ignored; how the settings go together does not matter then."""
    try:
        ProjectConfig.model_validate(file.restricted)
    except ValidationError as exc:
        if exc.errors()[0]["loc"]:
            raise _explain(exc, dict.fromkeys(file.restricted, str(file.path)), ProjectConfig.model_fields) from exc


def _check_secret(key: str, path: Path) -> None:
    if key in SECRET_KEYS:
        raise ConfigError(
            f"{path}: {key} does not belong in a file that is shared through version control.",
            hint=f"Set the environment variable {ENVIRONMENT_PREFIX}{key.upper()} instead.",
        )


def read_environment_layer(fields: Fields) -> Layer:
    """Return the settings that environment variables name."""
    layer: dict[str, tuple[Any, str]] = {}
    for key in fields:
        variable = ENVIRONMENT_PREFIX + key.upper()
        text = os.environ.get(variable)
        if text:
            layer[key] = (_convert_text(key, text, fields), variable)
    return layer


def make_flag_layer(overrides: Mapping[str, Any], fields: Fields) -> Layer:
    """Return the settings that flags name.

    Raises:
        ConfigError: One is no setting.
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
        return text  # refused by the model, which says what is allowed


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
        # a check of several settings together: its own text names them
        text = str(problem["ctx"]["error"])
        named = next(
            (origin for key, origin in origins.items() if key in text and origin != DEFAULT_ORIGIN), "settings"
        )
        return ConfigError(f"{named}: {text}.")
    key = str(problem["loc"][0])
    value = "" if key in SECRET_KEYS else f" {problem['input']!r}"
    allowed = fields[key].description
    return ConfigError(f"{origins[key]}: {key}{value} is not allowed. Allowed: {allowed}.", hint=f"Correct {key}.")
