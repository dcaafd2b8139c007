#!/usr/bin/env bash
# The viewer's tests. They need node and Debian's chromium, and install what is missing.
set -euo pipefail
cd "$(dirname "$0")"
# Only what is missing: a machine's own node and Debian's npm exclude each other.
missing=()
command -v chromium >/dev/null || missing+=(chromium fonts-dejavu-core)
command -v node >/dev/null || missing+=(nodejs)
command -v npm >/dev/null || missing+=(npm)
if ((${#missing[@]})); then
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
fi
npm ci --silent --no-audit --no-fund
exec npm test --silent
