#!/usr/bin/env bash
# Ask about a cluster, a cloud and a plan; no call leaves this machine (README.md).
set -euo pipefail
cd "$(dirname "$0")"
agent='"subject":{"type":"user","id":"ola"},"actors":[{"type":"agent","id":"on-call-bot"}]'

show='import json, sys; d = json.load(sys.stdin); print(d["outcome"], d.get("message", d["reason"]))'

expect() { # outcome protocol call
    local outcome why
    read -r outcome why < <(sidecar decide -b policy - <<<"{\"protocol\":\"$2\",$agent,\"call\":$3}" | python3 -c "$show")
    printf '%-5s %-9s %-72.72s %s\n' "$outcome" "$2" "${3//$'\n'/ }" "$why"
    [ "$outcome" = "$1" ]
}
k8s() { expect "$1" k8s "{\"method\":\"$2\",\"path\":\"$3\",\"body\":\"${4:-}\"}"; }
s3() {
    local scope='AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20260101/eu-west-1/s3/aws4_request, SignedHeaders=host;x-amz-date, Signature=0000'
    expect "$1" aws "{\"method\":\"$2\",\"url\":\"https://s3.eu-west-1.amazonaws.com$3\",\"headers\":{\"Authorization\":\"$scope\"}}"
}

k8s allow GET /api/v1/namespaces/prod/pods
k8s allow GET /api/v1/namespaces/prod/pods/web-0/log
k8s deny GET /api/v1/namespaces/prod/secrets/db
k8s deny DELETE /api/v1/namespaces/prod/pods/web-0
k8s allow PATCH /apis/apps/v1/namespaces/staging/deployments/web/scale '{\"spec\":{\"replicas\":3}}'
k8s deny PATCH /apis/apps/v1/namespaces/staging/deployments/web/scale '{\"spec\":{\"replicas\":300}}'
s3 allow GET /reports/q1.csv
s3 deny DELETE /backups
expect deny terraform "{\"plan\":$(<plan.json)}"
