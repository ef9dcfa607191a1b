"""Checks licences, sources and duplicates of the crates; mpc/native/deny.toml has the rules."""

from devstack.dependencies.checks import CRATE, Check, Result, last_lines, run


def check_crates() -> Check:
    name = "licences, sources and duplicates of the crates"
    ended = run("cargo-deny", "--offline", "check", "licenses", "sources", "bans", folder=CRATE)
    if ended.returncode:
        return Check(name, Result.FAILED, last_lines(ended.stderr, 40))
    return Check(name, Result.OK)
