# SPDX-License-Identifier: Apache-2.0
"""node_modules of the tests, installed once into the build folder by the lock file."""

import fcntl
import pathlib
import shutil
import subprocess

from podman import WORK

SOURCE = pathlib.Path(__file__).resolve().parent / "npm"


def npm_folder():
    folder = WORK / "npm"
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        wanted = (SOURCE / "package-lock.json").read_bytes()
        done = folder / "installed"
        if not done.exists() or done.read_bytes() != wanted:
            for name in ("package.json", "package-lock.json"):
                shutil.copy(SOURCE / name, folder / name)
            subprocess.run(["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"],
                           cwd=folder, check=True)
            done.write_bytes(wanted)
    return folder


if __name__ == "__main__":
    print(npm_folder())
