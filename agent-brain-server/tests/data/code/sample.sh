#!/bin/sh
# Starts the client.

MAX_RETRIES=3

# sends a file
send_file() {
  curl -T "$1" "$2"
}

function connect {
  send_file "$@"
}

connect "$@"
