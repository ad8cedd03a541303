#!/usr/bin/env bash
# Start an API and the sidecar in front of it, ask seven things, stop both (README.md).
set -euo pipefail
cd "$(dirname "$0")"
key=swk_this-key-is-public-issue-one-of-your-own
work=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait || true; rm -rf "$work"' EXIT
mkfifo "$work/api" "$work/said"

python3 api.py >"$work/api" &
read -r api <"$work/api"
# Port 0: the system chooses one, and the line that says `ready` tells which.
sed "s/:8280/:0/; s/:9000/:$api/; s|\./policy|$PWD/policy|" sidecar.yaml >"$work/sidecar.yaml"
sidecar run -c "$work/sidecar.yaml" >"$work/said" 2>"$work/log" &
exec 3<"$work/said"
read -r ready <&3 || { cat "$work/log" >&2; exit 1; }
port=${ready#*127.0.0.1:}
port=${port%%\"*}

expect() { # status method path [body]
    local status
    status=$(curl -sS --path-as-is -o "$work/answer" -w '%{http_code}' -X "$2" "http://127.0.0.1:$port$3" \
        -H "Sidecar-Authorization: Bearer $key" ${4:+-H "Content-Type: application/json" -d "$4"})
    printf '%-5s %-32s %-16s %s  %s\n' "$2" "$3" "${4:-}" "$status" \
        "$(sed -n 's/.*"detail":"\([^"]*\)".*/\1/p' "$work/answer")"
    [ "$status" = "$1" ]
}
expect 200 GET /orders/7
expect 403 GET /customers/7/card
expect 403 GET /orders/../customers/7/card
expect 200 POST /orders/7/refunds '{"amount":50}'
expect 403 POST /orders/7/refunds '{"amount":5000}'
expect 403 POST /orders/7/refunds '{"amount":"50"}'
expect 403 GET /admin

sidecar log verify --state "$work/state"
