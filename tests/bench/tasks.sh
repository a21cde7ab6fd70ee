# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=sh
#
# The task `bench` of ./dev, which reads this file.

# Set by ./dev before it reads this file.
root=${root:?}

# bench_SUITE [--quick]
bench_local() {
  mkdir -p build/bench
  timed "bench local" build/bench/bin/bench_local --out build/bench/local.json "$@"
}

bench_remote() {
  timed "bench remote" python3 -B tests/bench/remote/bench_remote.py \
    --bin build/bench/bin --out build/bench/remote.json "$@"
}

bench_limits() {
  stubs="$root/build/bench/tests/integration/python/stubs"
  # The system's interpreter is the one that sees the system's modules.
  timed "bench limits" env PYTHONPATH="$stubs" /usr/bin/python3 -B \
    tests/bench/limits/bench_limits.py --bin build/bench/bin --out build/bench/limits.json "$@"
}

task_bench() {
  suite=all
  case ${1:-} in
    local | remote | limits | all)
      suite=$1
      shift
      ;;
    "" | --quick) ;;
    *)
      usage >&2
      fail 64 "unknown benchmark '$1'"
      ;;
  esac
  install_group core
  install_group bench
  build_preset bench leaseplane_tests_bench leaseplaned leaseplane_python_stubs
  case $suite in
    local) bench_local "$@" ;;
    remote) bench_remote "$@" ;;
    limits) bench_limits "$@" ;;
    all)
      bench_local "$@"
      bench_remote "$@"
      bench_limits "$@"
      ;;
  esac
  print_times
}
