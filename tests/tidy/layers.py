# SPDX-License-Identifier: Apache-2.0
"""Who may include whom. Arrows only go down; the same rule for links is in deploy/cmake."""

import re

from tree import Finding

CORE = ["core/base", "core/shm", "core/pool", "core/attach"]
ENGINE = ["server/engine"]

# Folder -> folders of the project it may include, besides itself. The longest matching folder
# decides; a folder that is missing here may not hold C++ at all.
MAY_INCLUDE = {
    "core/base": [],
    "core/shm": ["core/base"],
    "core/pool": ["core/base", "core/shm"],
    "core/attach": ["core/base"],
    "server/obs": CORE,
    "server/obs/metrics": CORE + ENGINE + ["server/obs"],
    "server/engine": CORE,
    "server/security": CORE + ENGINE + ["server/obs"],
    "server/config": CORE + ENGINE + ["server/security"],
    "server/ledger": CORE + ENGINE + ["server/obs"],
    "server/store": CORE + ENGINE + ["server/obs", "server/ledger"],
    "server/keeper": CORE + ["server/obs", "server/config"],
    "server/attach": CORE + ENGINE + ["server/obs", "server/keeper"],
    "server/plane": CORE + ENGINE + ["server/obs", "server/config", "server/ledger",
                                     "server/store", "server/keeper", "server/attach",
                                     "server/security"],
    "server/rpc": CORE + ENGINE + ["server/obs", "server/config", "server/security",
                                   "server/plane", "leaseplane/v1", "google/rpc"],
    "server/app": CORE + ["server"],
    "clients/cpp": CORE + ["leaseplane"],
    "clients/cpp/local": CORE + ["clients/cpp", "leaseplane"],
    "clients/cpp/remote": CORE + ["clients/cpp", "leaseplane", "google"],
    "clients/cli": CORE + ["clients/cpp", "leaseplane", "google"],
    "clients/c": CORE + ["clients/cpp", "leaseplane"],
    "tests": ["core", "server", "clients", "proto", "leaseplane", "google"],
}

# Refused although the folders above would allow it.
MAY_NOT_INCLUDE = {"clients/cpp/local": ["clients/cpp/remote"]}

# What a header pattern stands for, and the folders that may include it.
LIBRARIES = [
    ("gRPC or protobuf", r"grpc|grpcpp/|google/protobuf/|leaseplane/v1/|google/rpc/",
     ["server/rpc", "clients/cpp/remote", "clients/cli", "tests"]),
    ("prometheus-cpp", r"prometheus/", ["server/obs", "tests"]),
    ("spdlog", r"spdlog/", ["server/obs", "tests"]),
    ("SQLite", r"sqlite3", ["server/store", "tests"]),
    ("yaml-cpp", r"yaml-cpp/", ["server/config", "server/security", "tests"]),
    ("OpenSSL", r"openssl/", ["server/security", "tests"]),
    ("CLI11", r"CLI/", ["server/config", "server/app", "clients/cli", "tests"]),
    ("GoogleTest", r"gtest/|gmock/|benchmark/", ["tests"]),
]

ENGINE_REFUSES = (r"thread$|mutex$|shared_mutex$|condition_variable$|future$|fstream$|iostream$|"
                  r"pthread\.h|unistd\.h|fcntl\.h|poll\.h|sys/|linux/|absl/synchronization/")
CORE_REFUSES = (r"thread$|mutex$|shared_mutex$|condition_variable$|future$|fstream$|iostream$|"
                r"pthread\.h|absl/(time/clock|synchronization)")
CLOCK_READ = re.compile(r"\bclock_gettime\s*\(|_clock::now\s*\(|\babsl::Now\s*\(|\btime\(nullptr\)")
INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]')
ROOTS = ("core/", "server/", "clients/", "tests/", "leaseplane/", "google/", "deploy/")


def below(path, folder):
    return path == folder or path.startswith(folder + "/")


def layer_of(path):
    matches = [folder for folder in MAY_INCLUDE if below(path, folder)]
    return max(matches, key=len) if matches else None


def check_layers(tree):
    for file in tree.files.values():
        if not file.is_cpp:
            continue
        layer = layer_of(file.path)
        if layer is None and not file.path.startswith(("deploy/", "clients/", "server/main")):
            yield Finding(file.path, 1, "layers", "C++ in a folder that has no layer")
            continue
        for number, line in enumerate(file.lines, 1):
            match = INCLUDE.match(line)
            if match:
                for message in check_include(file.path, layer, match.group(1), match.group(2)):
                    yield Finding(file.path, number, "layers", message)
            elif below(file.path, "core") or below(file.path, "server/engine"):
                if CLOCK_READ.search(line.split("//")[0]):
                    yield Finding(file.path, number, "clock",
                                  "no clock is read here; the time is an argument")


def check_include(path, layer, opening, included):
    for name, pattern, folders in LIBRARIES:
        if re.match(pattern, included) and layer and not any(below(path, f) for f in folders):
            yield f"{name} may not be included here ('{included}')"
    if below(path, "server/engine") and re.match(ENGINE_REFUSES, included):
        yield f"the engine has no threads and no I/O ('{included}')"
    if below(path, "core") and re.match(CORE_REFUSES, included):
        yield f"core has no threads and no streams ('{included}')"
    if opening == "<" and not included.startswith(ROOTS[:4]):
        return
    if opening == '"' and not included.startswith(ROOTS):
        if not re.match(r"grpc|absl/|gtest/|gmock/|google/protobuf/", included):
            yield f"'{included}' is not a path from the root of the repository"
        return
    yield from check_arrow(path, layer, included)


def check_arrow(path, layer, included):
    if path.startswith("server/main"):
        layer, allowed = "server/main", ["server"]
    elif layer is None:
        return
    else:
        allowed = MAY_INCLUDE[layer] + [layer]
    refused = MAY_NOT_INCLUDE.get(layer, [])
    if not any(below(included, f) for f in allowed) or any(below(included, f) for f in refused):
        yield f"{layer} may not include '{included}'"
