#!/usr/bin/env bash
# Ask about the statements of statements.txt, each with what it must come to (README.md).
set -euo pipefail
cd "$(dirname "$0")"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

python3 - statements.txt >"$work/calls.jsonl" <<'PYTHON'
import json, sys
who = {"subject": {"type": "user", "id": "sam"}, "actors": [{"type": "agent", "id": "support-bot"}]}
for line in open(sys.argv[1]):
    call = {"dialect": "postgres", "text": line.split(None, 1)[1]}
    print(json.dumps({"protocol": "sql", **who, "call": call}))
PYTHON
sidecar decide -b policy --jsonl "$work/calls.jsonl" >"$work/decisions.jsonl"
python3 - statements.txt "$work/decisions.jsonl" <<'PYTHON'
import json, sys
failed = 0
for line, said in zip(open(sys.argv[1]), open(sys.argv[2]), strict=True):
    want, text = line.split(None, 1)
    decision = json.loads(said)
    failed += decision["outcome"] != want
    print(f"{decision['outcome']:6} {text.strip():80} {decision.get('message', '')}")
sys.exit(failed > 0)
PYTHON

echo
echo "What the sidecar sees in the longest of them:"
sed -n 10p "$work/calls.jsonl" | sidecar parse -b policy --jsonl - | python3 -c '
import json, sys
for target in json.load(sys.stdin)["targets"]:
    resource, action = target["resource"], target["action"]
    print("  " + action["class"].ljust(6), resource["type"] + ":" + resource["id"], *resource["labels"])'
