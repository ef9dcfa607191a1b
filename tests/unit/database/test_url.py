"""URLs as libpq writes them reach both libraries, and a weak one is named."""

import re

import pytest
from asyncpg.connect_utils import _parse_connect_dsn_and_args
from psycopg.conninfo import conninfo_to_dict

from custody.database.url import asyncpg_dsns, conninfo, tls_problem
from custody.runtime.errors import ConfigurationError


def as_asyncpg_reads(url: str):
    """Return the addresses that asyncpg takes from our DSNs, and the parameters of the first."""
    read = [_as_read(dsn) for dsn in asyncpg_dsns(url)]
    return [address for addresses, *_ in read for address in addresses], *read[0][1:]


def _as_read(dsn: str):
    return _parse_connect_dsn_and_args(
        dsn=dsn,
        **dict.fromkeys(
            re.findall(
                r"\w+",
                "host port user password passfile database ssl service servicefile direct_tls "
                "server_settings target_session_attrs krbsrvname gsslib",
            )
        ),
    )


@pytest.mark.parametrize("scheme", ["postgresql", "postgres"])
def test_several_hosts_and_what_is_wanted_of_them(scheme: str):
    url = f"{scheme}://u%40x:p%2F%3A@h1,h2:5433/d?target_session_attrs=read-write&sslmode=disable"
    addresses, parameters, *_ = as_asyncpg_reads(url)
    assert addresses == [("h1", 5432), ("h2", 5433)]
    assert (parameters.user, parameters.password, parameters.database) == ("u@x", "p/:", "d")
    assert parameters.target_session_attrs.value == "read-write"
    read = conninfo_to_dict(conninfo(url, "test"))
    assert (read["host"], read["user"], read["password"]) == ("h1,h2", "u@x", "p/:")


def test_one_port_is_for_all_hosts_and_other_numbers_are_refused():
    assert as_asyncpg_reads("postgresql://u@/d?host=h1,h2&port=6000")[0] == [
        ("h1", 6000),
        ("h2", 6000),
    ]
    with pytest.raises(ConfigurationError, match="3 hosts and 2 ports"):
        asyncpg_dsns("postgresql://u@/d?host=h1,h2,h3&port=1,2")


def test_a_socket_and_what_libpq_alone_understands():
    url = "postgresql:///d?host=/run/x&port=6000&connect_timeout=3&keepalives=1&application_name=a"
    addresses, parameters, *_ = as_asyncpg_reads(url)
    assert addresses == ["/run/x/.s.PGSQL.6000"]
    assert not parameters.server_settings
    assert conninfo_to_dict(conninfo(url, "test"))["application_name"] == "test"


@pytest.mark.parametrize(
    ("url", "far"),
    [
        ("postgresql://u@db.example/d", "db.example"),
        ("postgresql://u@127.0.0.1,10.0.0.7/d?sslmode=require", "10.0.0.7"),
        ("postgresql://u@db.example/d?sslmode=verify-ca", "db.example"),
        ("postgresql://u@db.example/d?sslmode=verify-full", None),
        ("postgresql://u@127.0.0.1/d", None),
        ("postgresql://u@[::1]/d", None),
        ("postgresql://localhost/d", None),
        ("postgresql:///d", None),
        ("postgresql:///d?host=/run/postgresql", None),
    ],
)
def test_a_far_server_that_nothing_proves_is_named(url: str, far: str | None):
    problem = tls_problem(url)
    assert (problem is None) if far is None else (problem is not None and far in problem)
