# SPDX-License-Identifier: Apache-2.0
"""The stages of the long verification: what is run, by which command, for how long at most.

In commands BIN stands for the programs of the dev build, BUILD for the folder of all builds, ROOT
for the root of the repository and RUN for a number that differs from run to run (seeds, phases).
A stage writes its figures to the ledger itself. `runs` of it make up what is aimed at in all; more
do no harm.
"""

import dataclasses
import shlex

STAGE_SECONDS_MAX = 90 * 60


@dataclasses.dataclass(frozen=True)
class Stage:
    name: str
    command: tuple
    needs: tuple = ()  # files; without them the stage is left out, and that is said
    env: tuple = ()
    runs: int = 1
    alone: bool = False  # uses every core by itself, or compares times

    def words(self, **places):
        return [replace(word, places) for word in self.command]

    def environment(self, **places):
        return {name: replace(value, places) for name, value in self.env}

    def shown(self):
        return " ".join([f"{name}={value}" for name, value in self.env] +
                        [shlex.join(self.command)])


def replace(text, places):
    for name, value in places.items():
        text = text.replace(name, str(value))
    return text


# Of each stretch all instructions, or as many as a time allows; other ones in the next run.
def _step(build, program, runs=1):
    return Stage(f"kill and stop at an instruction, {build}",
                 (program, "--daemon=BIN/leaseplaned", "--leasectl=BIN/leasectl",
                  f"--build={build}", "--seconds=25", "--phase=RUN"),
                 needs=(program,), runs=runs)


def _step_daemon(build, daemon):
    return Stage(f"kill of the daemon at an instruction, {build}",
                 ("BIN/step_daemon", f"--daemon={daemon}", "--holder=BIN/lease_holder",
                  f"--build={build}", "--seconds=40", "--phase=RUN"),
                 needs=(daemon,))


def _fuzz(target):
    program = f"BUILD/fuzz/bin/fuzz_{target}"
    return Stage(f"fuzzing: {target}",
                 ("/usr/bin/python3", "ROOT/tests/verify/run_fuzzer.py", program,
                  f"ROOT/tests/fuzz/corpus/{target}", "BUILD/verify/fuzz", "600"),
                 needs=(program,))


def _model(name):
    return Stage(f"model, {name}",
                 ("/usr/bin/python3", "ROOT/tests/model/spin/run_spin.py", "--long", "--minutes=5",
                  f"--model={name}", "--build=BUILD/verify/spin"),
                 needs=("/usr/bin/spin",), alone=True)


STAGES = (
    *(_model(name)
      for name in ("words", "grant", "audit", "queue", "redeclare", "rotate", "renumber")),
    Stage("explorer, depth first", ("BIN/explorer", "--executions=5000000")),
    Stage("explorer, random",
          ("BIN/explorer", "--random", "--seed=RUN", "--executions=2000000"), runs=2),
    Stage("mutants of the code",
          ("/usr/bin/python3", "ROOT/tests/model/explorer/run_mutants.py", "--source", "ROOT",
           "--build", "BUILD/verify/mutants", "--long"), alone=True),
    _step("g++ -O2", "BIN/step_kill", runs=2),
    _step("g++ -O0", "BUILD/verify-o0/bin/step_kill"),
    _step("clang -O2", "BUILD/verify-clang/bin/step_kill", runs=2),
    _step_daemon("g++ -O2", "BIN/leaseplaned"),
    _step_daemon("g++ -O0", "BUILD/verify-o0/bin/leaseplaned"),
    _step_daemon("clang -O2", "BUILD/verify-clang/bin/leaseplaned"),
    Stage("daemon killed at each system call, and bad system calls of its store",
          ("/usr/bin/python3", "ROOT/tests/crash/syscalls/syscalls_test.py"),
          env=(("LEASEPLANE_POINTS", "3000"),)),
    Stage("daemon killed at each system call of a rotation",
          ("/usr/bin/python3", "ROOT/tests/crash/syscalls/rotation_kill_test.py"),
          env=(("LEASEPLANE_POINTS", "300"),)),
    Stage("engine under the simulator", ("BIN/model_engine_sim",),
          env=(("LEASEPLANE_SIM_SEEDS", "200000"), ("LEASEPLANE_SIM_RUN", "RUN")),
          runs=5),
    Stage("histories",
          ("BIN/history", "--daemon=BIN/leaseplaned", "--operations=100000000", "--processes=8",
           "--slots=6", "--seed=RUN"), runs=10, alone=True),
    Stage("histories with kills",
          ("BIN/history", "--daemon=BIN/leaseplaned", "--operations=20000000", "--window=20000",
           "--kills", "--seed=RUN"), alone=True),
    Stage("hostile neighbour, daemon and client under AddressSanitizer",
          ("/usr/bin/python3", "ROOT/tests/hostile/hostile_test.py"),
          needs=("BUILD/asan-ubsan/bin/leaseplaned", "BUILD/asan-ubsan/bin/honest_client"),
          env=(("LEASEPLANE_HOSTILE_SECONDS", "600"),
               ("LEASEPLANE_HOSTILE_BUILD", "AddressSanitizer"),
               ("LEASEPLANE_DAEMON", "BUILD/asan-ubsan/bin/leaseplaned"),
               ("LEASEPLANE_HONEST_CLIENT", "BUILD/asan-ubsan/bin/honest_client")),
          alone=True),
    *(_fuzz(target) for target in ("scan", "attach", "config", "request", "ledger", "store")),
    Stage("gRPC abuse", ("/usr/bin/python3", "ROOT/tests/abuse/abuse_test.py"),
          env=(("LEASEPLANE_ABUSE_SCALE", "50"),), alone=True),
    Stage("soak", ("/usr/bin/python3", "ROOT/tests/soak/soak.py", "--minutes=30", "--seed=RUN"),
          runs=2),
)


def order(name):
    """Rows of the page: by stage, then by name."""
    kinds = ("model", "explorer", "mutants", "kill", "stop", "daemon", "engine", "histor",
             "hostile", "fuzz", "gRPC", "soak")
    for i, kind in enumerate(kinds):
        if name.startswith(kind):
            return i, name
    return len(kinds), name
