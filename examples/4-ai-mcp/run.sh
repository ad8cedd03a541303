#!/usr/bin/env bash
# Start the sidecar, ask it about the calls of calls.jsonl, verify what it recorded, stop it (README.md).
set -euo pipefail
cd "$(dirname "$0")"
key=swk_this-key-is-public-issue-one-of-your-own
work=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait || true; rm -rf "$work"' EXIT
mkfifo "$work/said"

# Port 0: the system chooses one, and the line that says `ready` tells which.
sed "s/:8282/:0/; s|\./policy|$PWD/policy|" sidecar.yaml >"$work/sidecar.yaml"
sidecar run -c "$work/sidecar.yaml" >"$work/said" 2>"$work/log" &
exec 3<"$work/said"
read -r ready <&3 || { cat "$work/log" >&2; exit 1; }
port=${ready#*127.0.0.1:}

python3 ask.py "${port%%\"*}" "$key"
sidecar log verify --state "$work/state"
