# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=sh
#
# The tasks `package`, `image`, `test manifests` and `test deploy` of ./dev, which reads this file.

# Set by ./dev before it reads this file.
root=${root:?}

# package_bill PACKAGE PROGRAM BUILD_PACKAGE...: of the program as it is in the package.
package_bill() {
  package=$1
  program=$2
  shift 2
  for built_in in "$@"; do
    shift
    set -- "$@" --build "$built_in"
  done
  rm -rf build/packages/tree
  dpkg-deb -x "build/packages/${package}_${version}_"*.deb build/packages/tree
  deploy/packaging/sbom.py --name "$package" --version "$version" "$@" \
    "build/packages/tree/usr/bin/$program" >"build/packages/$package.spdx.json"
  rm -rf build/packages/tree
}

make_packages() {
  rm -rf build/packages
  log=build/package.cpack.log
  cpack --config build/package/CPackConfig.cmake -B build/packages >"$log" 2>&1 || {
    cat "$log"
    return 1
  }
  rm -rf build/packages/_CPack_Packages
  version=$(sed -n 's/^ *VERSION \([0-9.]*\)$/\1/p' CMakeLists.txt | head -n 1)
  package_bill leaseplane leaseplaned libabsl-dev libcli11-dev libspdlog-dev nlohmann-json3-dev
  package_bill leaseplane-cli leasectl libabsl-dev libcli11-dev nlohmann-json3-dev
  ls -l build/packages
}

task_package() {
  install_group core
  build_preset package
  timed "packages" make_packages
}

# --- containers -------------------------------------------------------------------------------

# What the tests of the deployment need besides packages: node and npm, from wherever they are.
install_npm() {
  command -v npm >/dev/null 2>&1 || install_group npm
}

# The packages of npm that the tests use, into the build folder.
fetch_npm() { /usr/bin/python3 -B tests/deploy/npm_folder.py; }

test_manifests_if_possible() {
  if command -v npm >/dev/null 2>&1 && fetch_npm; then
    test_preset manifests
  else
    say "manifests and dashboards are left out: npm or its registry is not to be had"
  fi
}

task_test_manifests() {
  install_npm
  build_preset dev leaseplaned leaseplane_python_stubs
  timed "packages of npm" fetch_npm
  test_preset manifests
}

# Sets engine; podman before docker, installed if there is neither.
find_engine() {
  for engine in podman docker; do
    ! command -v "$engine" >/dev/null 2>&1 || break
    engine=""
  done
  if [ -z "$engine" ] || { [ "$engine" = podman ] && is_debian_12; }; then
    install_group deploy
    engine=podman
    # A machine of ours is a virtual one as likely as not; elsewhere podman is set up already.
    CONTAINERS_CONF=${CONTAINERS_CONF:-$root/deploy/container/containers.conf}
    export CONTAINERS_CONF
  fi
}

task_image() {
  find_engine
  name=${1:-leaseplane}
  version=$(sed -n 's/^ *VERSION \([0-9.]*\)$/\1/p' CMakeLists.txt | head -n 1)
  revision=$(git rev-parse HEAD 2>/dev/null || echo unknown)
  timed "base image" deploy/container/base_image.sh "$engine"
  set -- --network=host --build-arg "VERSION=$version" --build-arg "REVISION=$revision" \
    --tag "$name:$version" --tag "$name:dev" .
  # The format that has health checks.
  [ "$engine" != podman ] || set -- --format=docker "$@"
  timed "image" "$engine" build "$@"
  bytes=$("$engine" image inspect --format '{{.Size}}' "$name:$version")
  say "image $name:$version, $((bytes / 1000000)).$((bytes / 100000 % 10)) MB"
}

task_test_deploy() {
  install_group deploy
  task_image localhost/leaseplane
  install_npm
  task_package
  build_preset dev leaseplaned leasectl pod_client leaseplane_python_stubs
  test_preset deploy
}
