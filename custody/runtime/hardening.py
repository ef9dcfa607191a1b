"""Protection of secrets in memory from core files and from processes of the same user."""

import ctypes
import os
import resource

PR_SET_PDEATHSIG = 1  # prctl(2)
PR_SET_DUMPABLE = 4
MCL_CURRENT, MCL_FUTURE = 1, 2  # mlockall(2)


def harden() -> None:
    """Forbid core files, and ptrace by the same user (prctl(2), PR_SET_DUMPABLE)."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _prctl(PR_SET_DUMPABLE, 0)


def lock_memory() -> bool:
    """Keep this process's memory out of swap (mlockall(2)). Return False if that is not allowed.

    Root is not limited. Under a limit of other users (ulimit -l), allocations would fail later, so
    their memory is locked only if they have none.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    resource.setrlimit(resource.RLIMIT_MEMLOCK, (hard, hard))
    if hard != resource.RLIM_INFINITY and os.geteuid() != 0:
        return False
    return bool(ctypes.CDLL(None).mlockall(MCL_CURRENT | MCL_FUTURE) == 0)


def die_with_parent(signal_number: int) -> None:
    """Have the kernel send this process a signal when its parent ends, however it ends."""
    _prctl(PR_SET_PDEATHSIG, signal_number)


def _prctl(option: int, argument: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(option, argument, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), f"prctl({option}) failed")
