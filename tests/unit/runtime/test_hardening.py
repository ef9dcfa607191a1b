"""What the kernel is asked for, seen from outside of the process that asks."""

import signal
import subprocess
import sys
import time
from pathlib import Path

HARDENED = """
import resource
from custody.runtime.hardening import harden
harden()
print(resource.getrlimit(resource.RLIMIT_CORE), flush=True)
input()
"""

CHILD = """
import signal, time
from custody.runtime.hardening import die_with_parent
die_with_parent(signal.SIGKILL)
print("ready", flush=True)
time.sleep(60)
"""

PARENT = """
import subprocess, sys
child = subprocess.Popen([sys.executable, "-c", sys.argv[1]], stdout=subprocess.PIPE, text=True)
child.stdout.readline()
print(child.pid, flush=True)
input()
"""


def run(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def test_a_hardened_process_leaves_no_core_file_and_is_not_for_others_to_look_into():
    with run(HARDENED) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "(0, 0)\n"
        # proc(5): the files of a process that is not dumpable belong to root
        assert Path(f"/proc/{process.pid}/environ").stat().st_uid == 0
        process.kill()


def test_a_process_that_asked_for_it_ends_with_its_parent_however_that_ends():
    with run(PARENT, CHILD) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        parent.send_signal(signal.SIGKILL)
    deadline = time.monotonic() + 5
    while is_alive(child):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state not in "ZX"
