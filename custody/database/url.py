"""PostgreSQL URLs as libpq writes them, for the libraries that connect.

``postgresql://`` and ``postgres://``, several hosts, ``target_session_attrs`` and ``sslmode`` are
as in PostgreSQL's documentation, section 34.1.1.
"""

import ipaddress
from typing import Any
from urllib.parse import quote, urlencode

import psycopg
import structlog
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from custody.runtime.errors import ConfigurationError

CONNECT_SECONDS = 5
KEEPALIVES = {"keepalives_idle": 5, "keepalives_interval": 5, "keepalives_count": 3}
SILENCE_SECONDS = 10
"""The kernel drops a connection whose peer has not confirmed data for this long."""

TLS_TODO = (
    "Add sslmode=verify-full and sslrootcert=/path/to/its/ca.pem to the database's URL, and turn "
    "ssl on in its postgresql.conf."
)
EXAMPLE = "Write postgresql://user@host:port/database."

_log = structlog.get_logger(__name__)

_FOR_LIBPQ_ALONE = frozenset(
    {
        "application_name",
        "channel_binding",
        "client_encoding",
        "connect_timeout",
        "fallback_application_name",
        "gssencmode",
        "hostaddr",
        "keepalives",
        "keepalives_count",
        "keepalives_idle",
        "keepalives_interval",
        "load_balance_hosts",
        "require_auth",
        "sslcompression",
        "sslsni",
        "tcp_user_timeout",
    }
)
"""Parameters that asyncpg would send to the server as settings; the server refuses them."""


def parts_of(url: str) -> dict[str, Any]:
    """Return the parameters of a URL, by libpq's names. Raise ConfigurationError."""
    scheme, separator, _ = url.partition("://")
    if not separator or not scheme.isidentifier():
        raise ConfigurationError("the database URL cannot be read", EXAMPLE)
    if scheme not in ("postgresql", "postgres"):
        raise ConfigurationError(
            f"the database is {scheme}, but only PostgreSQL is supported", EXAMPLE
        )
    try:
        return conninfo_to_dict(url)
    except psycopg.ProgrammingError:
        raise ConfigurationError("the database URL cannot be read", EXAMPLE) from None


def with_database(url: str, database: str) -> str:
    """Return the URL of another database on the same server. Raise ConfigurationError."""
    return f"postgresql:///?{urlencode({**parts_of(url), 'dbname': database}, quote_via=quote)}"


def conninfo(url: str, name: str, **more: str) -> str:
    """Return a connection string for psycopg: for migrations, which run synchronously."""
    return make_conninfo(
        "",
        **{
            **parts_of(url),
            "connect_timeout": CONNECT_SECONDS,
            "application_name": name,
            "tcp_user_timeout": SILENCE_SECONDS * 1000,
            **KEEPALIVES,
            **more,
        },
    )


def asyncpg_dsns(url: str) -> list[str]:
    """Return the URL in the form that asyncpg reads, one for each host.

    Raise ConfigurationError.
    """
    parts = parts_of(url)
    user, password = parts.pop("user", None), parts.pop("password", None)
    database = parts.pop("dbname", "")
    hosts = str(parts.get("hostaddr") or parts.get("host") or "").split(",")
    # libpq writes h1,h2:5433 as ports ",5433"; one port alone is for all hosts
    has_port = "port" in parts
    ports = str(parts.pop("port", "")).split(",")
    if len(ports) == 1:
        ports *= len(hosts)
    if len(ports) != len(hosts):
        raise ConfigurationError(
            f"the database URL has {len(hosts)} hosts and {len(ports)} ports", EXAMPLE
        )
    who = "" if user is None else quote(user, safe="")
    if password is not None:
        who += ":" + quote(password, safe="")
    at = f"{who}@" if who else ""
    kept = {key: value for key, value in parts.items() if key not in _FOR_LIBPQ_ALONE}
    return [
        f"postgresql://{at}/{quote(database, safe='')}?"
        + urlencode(
            kept | ({"host": host} if host else {}) | ({"port": port or "5432"} if has_port else {})
        )
        for host, port in zip(hosts, ports, strict=True)
    ]


def tls_problem(url: str) -> str | None:
    """Return why the network could read or change the traffic; None for a protected connection."""
    parts = parts_of(url)
    mode = parts.get("sslmode", "prefer")
    hosts = str(parts.get("hostaddr") or parts.get("host") or "").split(",")
    far = [host for host in hosts if not _is_local(host)]
    if mode == "verify-full" or not far:
        return None
    return f"sslmode is {mode}, so nothing proves that {', '.join(far)} is the database server"


def warn_of_tls(url: str) -> None:
    """Log the problem that ``tls_problem`` finds."""
    problem = tls_problem(url)
    if problem is not None:
        _log.warning("database connection is not secure", problem=problem, todo=TLS_TODO)


def _is_local(host: str) -> bool:
    if host in ("", "localhost") or host.startswith(("/", "@")):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
