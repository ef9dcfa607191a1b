"""Programs that the fork server starts behave as those that the kernel starts from their file."""

import json
import os
import select
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from custody.runtime.errors import OperatorError
from devstack.fork_server import can_fork
from devstack.launcher import Tied
from devstack.processes import Process, Program, run, run_for_output, wait_until
from devstack.service import clean_environment, command
from devstack.stack import Stack, StackOptions

SHOW = """
import json, os, signal, sys
print(json.dumps({
    "arguments": sys.argv, "path": sys.path, "folder": os.getcwd(),
    "environment": dict(os.environ), "name": __name__,
    "session": os.getsid(0) == os.getpid(), "input": os.readlink("/proc/self/fd/0"),
    "open": [number for number in range(100) if os.path.exists(f"/proc/self/fd/{number}")],
    "ignored": [n for n in (2, 15) if signal.getsignal(n) is signal.SIG_IGN],
}))
"""


def script(folder: Path, text: str, *arguments: str) -> Program:
    path = folder / "script.py"
    path.write_text(text)
    words: list[str | Path] = [sys.executable, path, *arguments]
    return Program("script", words, folder, folder / "log", clean_environment(OF_ITS_OWN="1"))


def test_a_forked_program_finds_what_it_would_find_after_exec(tmp_path):
    program = script(tmp_path, SHOW, "one", "two words")
    assert can_fork(program.arguments)
    found = []
    for forked in (True, False):
        output = tmp_path / f"forked {forked}"
        with output.open("wb") as file:
            assert Process(program, forked=forked, output=file.fileno()).wait() == 0
        found.append(json.loads(output.read_text()))
    as_forked, as_executed = found
    assert as_forked == as_executed
    assert as_forked["environment"]["OF_ITS_OWN"] == "1"


def test_ps_shows_a_forked_program_under_its_own_name(tmp_path):
    program = script(tmp_path, "import signal; signal.pause()", "argument")
    process = Process(program, tied=signal.SIGKILL)
    words = b"\0".join(str(word).encode() for word in program.arguments)
    shown = Path(f"/proc/{process.pid}/cmdline")
    try:
        wait_until(process, lambda: shown.read_bytes().rstrip(b"\0") == words, timeout=30)
    finally:
        process.kill()


@pytest.mark.parametrize(
    ("text", "status"),
    [
        ("pass", 0),
        ("raise SystemExit(7)", 7),
        ("raise ValueError", 1),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", -signal.SIGKILL),
    ],
)
def test_the_exit_status_is_the_programs(tmp_path, text, status):
    assert Process(script(tmp_path, text)).wait() == status


def test_a_wait_ends_at_its_timeout_and_a_signal_ends_the_program(tmp_path):
    process = Process(script(tmp_path, "import signal; signal.pause()"), tied=signal.SIGKILL)
    with pytest.raises(subprocess.TimeoutExpired):
        process._popen.wait(0.01)
    assert process.is_alive()
    assert process.stop() == -signal.SIGTERM
    assert not process.is_alive()
    process.signal(signal.SIGTERM)


def test_a_failed_program_is_shown_with_the_end_of_its_log(tmp_path):
    with pytest.raises(OperatorError, match=r"could not try it \(status 1\)(.|\n)*the reason"):
        run(script(tmp_path, "raise SystemExit('the reason')"), "try it")


def test_the_output_of_a_program_is_kept_out_of_its_log(tmp_path):
    program = script(tmp_path, "import sys; print('shown'); print('logged', file=sys.stderr)")
    assert run_for_output(program, "show it") == "shown\n"
    assert program.log.read_text() == "logged\n"


TIED = """
import signal, sys
from pathlib import Path
from devstack.processes import Process, Program
script, folder = sys.argv[1:]
program = Program("script", [sys.executable, script], Path(folder), Path(folder) / "log", {})
for tied in (signal.SIGKILL, None):
    print(Process(program, tied).pid, flush=True)
signal.pause()
"""


def test_a_tied_program_ends_when_the_process_that_started_it_is_killed(tmp_path):
    sleeper = tmp_path / "sleeper.py"
    sleeper.write_text("import signal; signal.pause()")
    starter = subprocess.Popen(
        [sys.executable, "-c", TIED, sleeper, tmp_path], stdout=subprocess.PIPE, text=True
    )
    assert starter.stdout is not None
    tied, stays = (os.pidfd_open(int(starter.stdout.readline())) for _ in range(2))
    try:
        starter.kill()
        starter.wait()
        assert select.select([tied], [], [], 30)[0]
        assert not select.select([stays], [], [], 0)[0]
    finally:
        signal.pidfd_send_signal(stays, signal.SIGKILL)


def test_daemons_started_from_their_files_work_too(tmp_path):
    """All other tests fork them: this is what an operator's service manager does."""
    assert can_fork([command("hsm-driver"), "run"])
    stack = Stack(
        tmp_path / "stack", StackOptions(signers=2, durable=False), launcher=Tied(forked=False)
    )
    with stack:
        assert len(stack.processes()) == 6
