#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# The worked example behind `./dev run`: 24 jobs share a pool of 3 slots, two of them are killed,
# and what happened is proved from the jobs' own logs. usage: run_demo.sh [--once]
# LEASEPLANE_BUILD_DIR is the build folder whose bin/ has leaseplaned and leasectl.
set -eu

here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
if [ -z "${LEASEPLANE_BUILD_DIR:-}" ]; then
  echo "run_demo.sh: LEASEPLANE_BUILD_DIR is not set; ./dev run sets it" >&2
  exit 64
fi
exec /usr/bin/python3 -B "$here/demo/demo.py" --programs "$LEASEPLANE_BUILD_DIR/bin" \
  --config "$here/pools.yaml" --sources "$here/../.." "$@"
