#!/usr/bin/env bash
# The viewer's tests. They need node and Debian's chromium, and install what is missing.
set -euo pipefail
cd "$(dirname "$0")"
if ! command -v chromium >/dev/null || ! command -v npm >/dev/null; then
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium fonts-dejavu-core nodejs npm >/dev/null
fi
npm ci --silent --no-audit --no-fund
exec npm test --silent
