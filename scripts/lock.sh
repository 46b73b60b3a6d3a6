#!/bin/sh
# Write requirements/run.lock and requirements/dev.lock from the two pyproject.toml files: exact versions with hashes, for
# Python 3.11 to 3.13 on every platform, with one version for all if possible, and without the address of an index. Locked
# versions stay; arguments go to `uv pip compile` (for example --upgrade, or --upgrade-package NAME).
set -eu
cd "$(dirname "$0")/.."

uv_version=0.13.9 # pinned, so that the same inputs give the same files
tool=.cache/lock-tool
if [ "$("$tool/bin/uv" --version 2>/dev/null | cut -d' ' -f2)" != "$uv_version" ]; then
    "${PYTHON:-.venv/bin/python}" -m venv "$tool"
    "$tool/bin/pip" install --quiet "uv==$uv_version"
fi

compile() { # compile OUTPUT ARGUMENT...
    output=$1
    shift
    "$tool/bin/uv" pip compile --quiet --universal --fork-strategy fewest --python-version 3.11 --generate-hashes \
        --no-header --no-emit-index-url --no-emit-find-links --no-emit-package agent-brain-server \
        --output-file "$output" \
        agent-brain-server/pyproject.toml agent-brain-cli/pyproject.toml requirements/tools.in "$@"
}

compile requirements/run.lock "$@"
compile requirements/dev.lock --constraint requirements/run.lock --group agent-brain-server/pyproject.toml:dev \
    --group agent-brain-cli/pyproject.toml:dev "$@"
