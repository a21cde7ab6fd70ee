# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=sh
#
# The tasks `verify` and `soak` of ./dev, which reads this file.

# Set by ./dev before it reads this file.
root=${root:?}

verify_ledger=$root/build/verify/ledger.jsonl
verify_python=python3
[ ! -x /usr/bin/python3 ] || verify_python=/usr/bin/python3 # sees the packages of the system

render_verification() {
  "$verify_python" -B tests/verify/render.py docs/verification/results.jsonl docs/verification.md
}

verify_long() {
  install_group core
  install_group verify
  build_preset dev
  build_preset verify-o0
  build_preset verify-clang
  build_preset fuzz
  build_preset asan-ubsan leaseplaned honest_client
  "$verify_python" -B tests/verify/verify.py --root "$root" "$@"
}

verify_short() {
  install_group core
  build_preset dev
  mkdir -p build/verify
  LEASEPLANE_LEDGER=$root/build/verify/short.jsonl
  export LEASEPLANE_LEDGER
  rm -f "$LEASEPLANE_LEDGER"
  test_preset verify
  "$verify_python" -B tests/verify/render.py "$LEASEPLANE_LEDGER" build/verify/short.md
  sed -n '/^## Figures/,/^## How/p' build/verify/short.md | grep -v '^## How'
  print_times
}

task_soak() {
  install_group core
  build_preset dev leaseplaned leasectl soak_client leaseplane_python_stubs
  LEASEPLANE_BIN_DIR=$root/build/dev/bin
  PYTHONPATH=$root/build/dev/tests/integration/python/stubs:$root/tests/integration/python
  PYTHONPATH=$PYTHONPATH:$root/tests/verify:$root/tests/support
  export LEASEPLANE_BIN_DIR PYTHONPATH
  exec "$verify_python" -B tests/soak/soak.py "$@"
}

task_verify() {
  case ${1:-} in
    "") verify_short ;;
    --long)
      shift
      verify_long "$@"
      ;;
    --list) "$verify_python" -B tests/verify/verify.py --root "$root" --list ;;
    --publish)
      "$verify_python" -B tests/verify/publish.py "$verify_ledger" docs/verification/results.jsonl
      render_verification
      ;;
    --render) render_verification ;;
    *)
      usage >&2
      fail 64 "unknown option '$1' of verify"
      ;;
  esac
}
