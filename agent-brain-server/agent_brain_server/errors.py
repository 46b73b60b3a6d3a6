"""The errors that Agent Brain raises.

    AgentBrainError
    ├── ConfigError                  a settings file, variable or flag is invalid               exit 2
    ├── StateDirError                the state directory cannot be created or written           exit 5
    │   └── UnsafePathError          a link or another user's file in a state directory         exit 5
    ├── NotRunningError              no server answers for this project                         exit 3
    │   └── DaemonNotRunningError    the shared daemon does not answer                          exit 7
    ├── StartError                   the server could not be started                            exit 1
    │   └── PortInUseError           the configured port is in use                              exit 1
    ├── DeadlineError                an operation exceeded its time limit                       exit 6
    ├── UnknownSchemaError           a file has a schema version that this version can't read   exit 1
    ├── ServerRefusedError           the server answered with a problem                         exit 4
    ├── StoreError                   a store on disk is unusable                                503
    └── RequestError                 a request that cannot be served                            4xx
        ├── InvalidRequestError                                                                 422
        ├── NotFoundError                                                                       404
        ├── ConflictError                                                                       409
        ├── ForbiddenError                                                                      403
        ├── UnauthorizedError                                                                   401
        ├── RequestTimeoutError                                                                 408
        ├── PayloadTooLargeError                                                                413
        ├── HeadersTooLargeError                                                                431
        └── UnavailableError                                                                    503

Each has an HTTP `status`, a stable `code`, an `exit_code` for the CLI and a `hint` with the next step. The server
converts it to `application/problem+json` in `api/errors.py`, the CLI to two lines and an exit code in `cli.py`.
"""

from typing import ClassVar


class AgentBrainError(Exception):
    """An error that is reported to the user.

    Args:
        message: One sentence that says what is wrong and names the file, value or process.
        hint: The next step, preferably a command to type; default: that of the class.
        code: A stable snake_case name for programs, more specific than that of the class.
    """

    status: ClassVar[int] = 500
    exit_code: ClassVar[int] = 1
    default_code: ClassVar[str] = "internal_error"
    default_hint: ClassVar[str] = "See the server's log with: agent-brain logs"

    def __init__(self, message: str, *, hint: str | None = None, code: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint if hint is not None else self.default_hint
        self.code = code if code is not None else self.default_code


class ConfigError(AgentBrainError):
    """A settings file, an environment variable or a flag has an invalid value."""

    status = 500
    exit_code = 2
    default_code = "invalid_config"
    default_hint = "Correct the value; agent-brain config shows where each one comes from."


class StateDirError(AgentBrainError):
    """The state directory cannot be created, read or written."""

    exit_code = 5
    default_code = "state_dir_unusable"
    default_hint = "Make the directory writable, or name another one with --state-dir."


class UnsafePathError(StateDirError):
    """A file in a state directory is a link, not a regular file, or belongs to another user."""

    default_code = "state_dir_unsafe"


class NotRunningError(AgentBrainError):
    """No server of this project is running."""

    status = 503
    exit_code = 3
    default_code = "server_not_running"
    default_hint = "Start it with: agent-brain start"


class DaemonNotRunningError(NotRunningError):
    """The project uses the shared daemon, which is not running."""

    exit_code = 7
    default_code = "daemon_not_running"
    default_hint = "Start it with: agent-brain start --mode shared"


class StartError(AgentBrainError):
    """The server process could not be started."""

    default_code = "start_failed"


class PortInUseError(StartError):
    """The configured port is used by another process."""

    default_code = "port_in_use"
    default_hint = 'Set "port": 0 in config.json to let the system choose, or free the port.'


class DeadlineError(AgentBrainError):
    """An operation exceeded its time limit."""

    status = 504
    exit_code = 6
    default_code = "timed_out"
    default_hint = "Try again, or allow more time with --timeout."


class UnknownSchemaError(AgentBrainError):
    """A file has a schema version that this version does not support."""

    default_code = "unknown_schema_version"
    default_hint = "Use the version of agent-brain that wrote the file, or remove the file."


class ServerRefusedError(AgentBrainError):
    """The server answered a request with a problem document."""

    status = 502
    exit_code = 4
    default_code = "server_refused"
    default_hint = "Correct the request."


class StoreError(AgentBrainError):
    """A store on disk is missing, full, read-only or corrupt."""

    status = 503
    default_code = "store_unusable"
    default_hint = "See what is wrong with: agent-brain doctor. Then index again with: agent-brain index --force"


class RequestError(AgentBrainError):
    """The server cannot serve a request."""

    status = 400
    exit_code = 4
    default_code = "bad_request"
    default_hint = "Correct the request."


class InvalidRequestError(RequestError):
    """A field of the request is invalid; the message names it and the allowed values."""

    status = 422
    default_code = "invalid_request"


class NotFoundError(RequestError):
    """The job, chunk, project or path in the request does not exist."""

    status = 404
    default_code = "not_found"
    default_hint = "Check the id."


class ConflictError(RequestError):
    """The request conflicts with a running job or with the server's mode."""

    status = 409
    default_code = "conflict"
    default_hint = "Wait for the running job, or cancel it."


class ForbiddenError(RequestError):
    """The request has a foreign Host or Origin."""

    status = 403
    default_code = "forbidden"
    default_hint = "Call the base_url of runtime.json directly, not through a web page or a proxy."


class UnauthorizedError(RequestError):
    """The client is not authorized."""

    status = 401
    default_code = "unauthorized"
    default_hint = "Send the token of runtime.json as: Authorization: Bearer <token>"


class PayloadTooLargeError(RequestError):
    """The body of the request is too large."""

    status = 413
    default_code = "payload_too_large"
    default_hint = "Send a smaller body."


class RequestTimeoutError(RequestError):
    """The request was not received in time."""

    status = 408
    default_code = "request_timeout"
    default_hint = "Send the whole request at once."


class HeadersTooLargeError(RequestError):
    """The headers of the request are too large."""

    status = 431
    default_code = "headers_too_large"
    default_hint = "Send fewer and shorter headers."


class UnavailableError(RequestError):
    """The server cannot serve the request yet; retry after `retry_after` seconds."""

    status = 503
    default_code = "unavailable"
    default_hint = "Try again in a moment."

    def __init__(self, message: str, *, hint: str | None = None, code: str | None = None, retry_after: int = 1) -> None:
        super().__init__(message, hint=hint, code=code)
        self.retry_after = retry_after
