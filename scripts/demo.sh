#!/bin/sh
# Start, index, query and stop on this repository. A server that runs already is not stopped.
set -eu
cd "$(dirname "$0")/.."

brain() {
    printf '\n$ agent-brain'
    for word in "$@"; do
        case $word in *" "*) printf ' "%s"' "$word" ;; *) printf ' %s' "$word" ;; esac
    done
    echo
    .venv/bin/agent-brain "$@"
}

if ! .venv/bin/agent-brain status >/dev/null 2>&1; then
    trap 'brain stop' EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM
    trap 'exit 141' PIPE # the reader of the output closed it: stop the server anyway
fi
brain start
brain index --wait .
brain query --top-k 3 "where is the lock of a project released?"
