#!/bin/sh
# Show two projects behind one daemon: isolated answers, and the pointers to the daemon. Everything is in a temporary
# directory with a separate home and port, and removed at the end: no other daemon is affected.
set -eu
cd "$(dirname "$0")/.."

bin=$PWD/.venv/bin
place=$(mktemp -d)
AGENT_BRAIN_HOME=$place/home
export AGENT_BRAIN_HOME
unset DOC_SERVE_STATE_DIR

brain() {
    here=${PWD#"$place"}
    printf '\n%s$ agent-brain' "${here#/}"
    for word in "$@"; do
        case $word in *" "*) printf ' "%s"' "$word" ;; *) printf ' %s' "$word" ;; esac
    done
    echo
    "$bin/agent-brain" "$@"
}

clean_up() {
    cd "$place"
    "$bin/agent-brain" stop --mode shared >/dev/null 2>&1 || true
    rm -rf "$place"
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
trap 'exit 141' PIPE # the reader of the output closed it: clean up anyway

make_project() {
    mkdir -p "$place/$1/.claude"
    cat >"$place/$1/$2.py" <<END
def open_$2(name):
    """Open the $2 of a customer, and close it when the customer has paid."""
    return {"$2": name}
END
}

make_project bakery oven
make_project harbour lock

cd "$place"
brain start --mode shared --port 0
for project in bakery harbour; do
    cd "$place/$project"
    brain init --mode shared
    brain index --wait .
done
for project in bakery harbour; do
    cd "$place/$project"
    brain query "what is closed when the customer has paid?"
    printf '\n%s$ cat ".claude/Agent Brain/runtime.json"\n' "$project"
    cat ".claude/Agent Brain/runtime.json"
done
cd "$place"
brain status --mode shared
brain list
brain stop --mode shared
cd "$place/harbour"
printf '\nharbour$ ls ".claude/Agent Brain"\n'
ls ".claude/Agent Brain"
brain status 2>&1 || echo "exit $?"
