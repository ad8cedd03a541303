"""Send every call of calls.jsonl in one batch; exit 1 unless each comes out as it says."""

import json
import sys
import urllib.request
from pathlib import Path

rows = [json.loads(line) for line in Path("calls.jsonl").read_text().splitlines()]
request = urllib.request.Request(
    f"http://127.0.0.1:{sys.argv[1]}/v1/decide",
    json.dumps({"calls": [row["call"] for row in rows]}).encode(),
    {"Authorization": f"Bearer {sys.argv[2]}", "Content-Type": "application/json"},
)
with urllib.request.urlopen(request) as answer:
    decisions = json.load(answer)["decisions"]
failed = 0
for row, decision in zip(rows, decisions, strict=True):
    rules = ", ".join(f"{rule['policy']}/{rule['id']}" for rule in decision["rules"])
    print(f"{decision['outcome']:8} {row['it']:48} {decision.get('message') or rules}")
    failed += decision["outcome"] != row["want"]
    if "rewritten" in decision:
        kept = [candidate["id"] for candidate in decision["rewritten"]["candidates"]]
        print(f"{'':8} kept: {', '.join(kept)}")
sys.exit(1 if failed else 0)
