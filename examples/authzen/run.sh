#!/bin/sh
# Run the to-do story: start the sidecar, ask it three things, stop it. Nothing is left behind.
set -eu
cd "$(dirname "$0")"
: "${SIDECAR:=sidecar}"
key=swk_this-key-is-public-issue-one-of-your-own
work=$(mktemp -d)
cp -r entities.yaml todo "$work"
# Port 0: the system chooses one, and the first line says which.
sed 's/127\.0\.0\.1:8282/127.0.0.1:0/' sidecar.yaml >"$work/sidecar.yaml"

mkfifo "$work/said"
"$SIDECAR" run -c "$work/sidecar.yaml" >"$work/said" &
server=$!
trap 'kill "$server" 2>/dev/null || true; wait "$server" 2>/dev/null || true; rm -rf "$work"' EXIT
# The first line comes when every listener serves; no line comes when it cannot start.
exec 3<"$work/said"
IFS= read -r ready <&3
printf '%s\n' "$ready"
port=${ready#*127.0.0.1:}
port=${port%%\"*}

ask() {
    curl -sS "http://127.0.0.1:$port$1" -H "Authorization: Bearer $key" \
        -H "Content-Type: application/json" -d "$2"
}
morty='{"type":"user","id":"CiRmZDE2MTRkMy1jMzlhLTQ3ODEtYjdiZC04Yjk2ZjVhNTEwMGQSBWxvY2Fs"}'
mine='{"type":"todo","id":"1","properties":{"ownerID":"morty@the-citadel.com"}}'
ricks='{"type":"todo","id":"2","properties":{"ownerID":"rick@the-citadel.com"}}'

ask /access/v1/evaluation "{\"subject\":$morty,\"action\":{\"name\":\"can_delete_todo\"},\"resource\":$mine}"
ask /access/v1/evaluation "{\"subject\":$morty,\"action\":{\"name\":\"can_delete_todo\"},\"resource\":$ricks}"
ask /access/v1/evaluations "{\"subject\":$morty,\"action\":{\"name\":\"can_update_todo\"},
    \"options\":{\"evaluations_semantic\":\"deny_on_first_deny\"},
    \"evaluations\":[{\"resource\":$mine},{\"resource\":$ricks},{\"resource\":$mine}]}"
