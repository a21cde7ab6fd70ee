# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=sh
#
# The task `bench` of ./dev, which reads this file.

# Set by ./dev before it reads this file.
root=${root:?}

bench_python=python3
[ ! -x /usr/bin/python3 ] || bench_python=/usr/bin/python3 # sees the packages of the system

# bench_suite SUITE [--quick] -- COMMAND...: runs it and notes machine, noise and time.
bench_suite() {
  bench_name=$1
  shift
  timed "bench $bench_name" "$bench_python" -B tests/bench/machine.py \
    --out "build/bench/$bench_name.machine.json" --cache build/bench/CMakeCache.txt "$@"
}

# bench_SUITE [--quick]
bench_local() {
  (cd tests/bench/local/node && npm ci --silent --no-audit --no-fund) ||
    fail 69 "the pools from npm could not be installed"
  bench_suite local "$@" -- build/bench/bin/bench_local --out build/bench/local.json "$@"
}

bench_wait() {
  bench_suite wait "$@" -- build/bench/bin/bench_wait --out build/bench/wait.json "$@"
}

bench_biased() {
  build/bench/bin/bench_biased --out build/bench/biased.json
}

bench_remote() {
  bench_suite remote "$@" -- "$bench_python" -B tests/bench/remote/bench_remote.py \
    --bin build/bench/bin --out build/bench/remote.json "$@"
}

bench_limits() {
  bench_suite limits "$@" -- env \
    PYTHONPATH="$root/build/bench/tests/integration/python/stubs" "$bench_python" -B \
    tests/bench/limits/bench_limits.py --bin build/bench/bin --out build/bench/limits.json "$@"
}

bench_publish() {
  install_group bench
  "$bench_python" -B tests/bench/render/render.py --root "$root" --publish build/bench
}

# The build that CI has: counts are of its code.
bench_smoke() {
  install_group core
  build_preset dev bench_smoke leaseplaned
  timed "bench smoke" "$bench_python" -B tests/bench/smoke/smoke.py --bin build/dev/bin "$@"
}

task_bench() {
  suite=all
  case ${1:-} in
    local | wait | biased | remote | limits | all | smoke | publish)
      suite=$1
      shift
      ;;
    "" | --quick) ;;
    *)
      usage >&2
      fail 64 "unknown benchmark '$1'"
      ;;
  esac
  case $suite in
    smoke | publish)
      "bench_$suite" "$@"
      return
      ;;
  esac
  install_group core
  install_group bench
  case $suite in
    local | all) install_npm ;;
  esac
  build_preset bench leaseplane_tests_bench leaseplaned leaseplane_python_stubs
  case $suite in
    all)
      for bench_each in local wait remote limits; do "bench_$bench_each" "$@"; done
      ;;
    *) "bench_$suite" "$@" ;;
  esac
  print_times
}
