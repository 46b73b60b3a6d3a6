#!/bin/sh
# Install the packages of a lock file and both packages, editable, into .venv. Does nothing if .venv is current.
#
#   scripts/setup.sh run    packages of Agent Brain, and the task runner
#   scripts/setup.sh dev    also packages of the tests and checks
#
# PYTHON names the interpreter; PIP_* variables and pip's configuration apply. An interrupted set-up leaves
# .venv/.incomplete, and the next one starts again.
set -eu
cd "$(dirname "$0")/.."

kind=${1:-run}
venv=.venv
lock=requirements/$kind.lock
log=$venv/setup.log
mutex=.setup-in-progress

say() { printf '%s\n' "$*" >&2; }

fail() {
    say "$@"
    exit 1
}

fingerprint() { # of everything a set-up depends on, including the directory, because a virtual environment cannot be moved
    { pwd -P; cat "requirements/$1.lock" agent-brain-server/pyproject.toml agent-brain-cli/pyproject.toml scripts/setup.sh; } | cksum
}

is_current() { # is_current KIND: dev.lock holds all of run.lock, so a current dev set-up serves both
    [ ! -e "$venv/.incomplete" ] && [ -x "$venv/bin/python" ] || return 1
    [ "$(cat "$venv/.stamp-$1" 2>/dev/null)" = "$(fingerprint "$1")" ] && return 0
    [ "$1" = run ] && [ "$(cat "$venv/.stamp-dev" 2>/dev/null)" = "$(fingerprint dev)" ]
}

is_supported() { "$1" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' >/dev/null 2>&1; }

find_python() { # print the first supported interpreter that can create virtual environments
    without_venv=
    for candidate in ${PYTHON:+"$PYTHON"} python3 python3.13 python3.12 python3.11; do
        is_supported "$candidate" || continue
        if "$candidate" -c 'import ensurepip, venv' >/dev/null 2>&1; then
            command -v "$candidate"
            return
        fi
        without_venv=$candidate
    done
    [ -z "$without_venv" ] || fail "$without_venv has no venv module." \
        "Install it (on Debian and Ubuntu: sudo apt install python3-venv), then run this again."
    fail "Agent Brain needs Python 3.11, 3.12 or 3.13, and none was found." \
        "Install one, or name it: PYTHON=/path/to/python3.12 ./task install"
}

child=
holds_mutex=

clean_up() {
    [ -z "$child" ] || kill "$child" 2>/dev/null || true
    [ -z "$holds_mutex" ] || rm -rf "$mutex"
}

take_mutex() { # one set-up at a time in this directory; the mutex of a dead owner is taken over
    until mkdir "$mutex" 2>/dev/null; do
        sleep 1 # its owner writes the pid right after creating it
        owner=$(cat "$mutex/pid" 2>/dev/null) || owner=
        [ -n "$owner" ] && kill -0 "$owner" 2>/dev/null || rm -rf "$mutex"
    done
    holds_mutex=yes
    trap clean_up EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM
    printf '%s\n' $$ >"$mutex/pid"
}

is_usable() { # .venv is complete, was created for this directory and has a supported Python
    [ ! -e "$venv/.incomplete" ] || return 1
    [ "$(cat "$venv/.made-in" 2>/dev/null || pwd -P)" = "$(pwd -P)" ] || return 1
    is_supported "$venv/bin/python" && "$venv/bin/python" -m pip --version >/dev/null 2>&1
}

make_venv() {
    python=$(find_python)
    say "Creating $venv with $("$python" --version)."
    rm -rf "$venv"
    mkdir "$venv"
    : >"$venv/.incomplete"
    "$python" -m venv "$venv"
    pwd -P >"$venv/.made-in"
}

count() { grep -c "$@" || true; }

pip() { # pip ARGUMENT...: counts the packages on a terminal, shows the log's end on failure
    total=$(count '==' "$lock")
    "$venv/bin/python" -m pip --disable-pip-version-check --no-input "$@" >"$log" 2>&1 &
    child=$!
    while [ -t 2 ] && kill -0 "$child" 2>/dev/null; do
        printf '\r  %s of %s packages ' "$(count -e '^Collecting' -e '^Requirement already' "$log")" "$total" >&2
        sleep 1
    done
    [ ! -t 2 ] || printf '\r\033[K' >&2
    wait "$child" || {
        child=
        tail -n 20 "$log" >&2
        fail "The set-up failed (the whole log: $log). Check the network and pip's settings, then run this again."
    }
    child=
}

install_packages() {
    say "Installing the packages of $lock (once, about a minute)."
    : >"$venv/.incomplete"
    rm -f "$venv"/.stamp-*
    pip install --require-hashes --no-deps --progress-bar off -r "$lock"
    pip install --no-deps --no-build-isolation -e agent-brain-server -e agent-brain-cli
    fingerprint "$kind" >"$venv/.stamp-$kind"
    rm "$venv/.incomplete"
    say "Ready."
}

[ -f "$lock" ] || fail "There is no $lock: use run or dev."
is_current "$kind" && exit
take_mutex
is_current "$kind" && exit
is_usable || make_venv
install_packages
