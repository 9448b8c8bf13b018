"""Which names a server answers to, so that a page in somebody's browser cannot reach it under a name of its own.

A page at evil.example whose name comes to mean 127.0.0.1 (DNS rebinding) sends `Host: evil.example`.
"""

import socket
from collections.abc import Collection, Iterable

LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
EVERYWHERE = frozenset({"0.0.0.0", "::", ""})


def names_here(address: str, more: Iterable[str] = ()) -> frozenset[str]:
    """The names that a server on `address` goes by: loopback, the address, `more`, and where it listens on all
    addresses this machine's own.

    address    address that is listened on
    more       names that are allowed too; "*" allows all
    """
    names = LOOPBACK | {address} | set(more)
    if address in EVERYWHERE:
        own = {socket.gethostname(), socket.getfqdn()}
        for name in tuple(own):
            try:
                own |= {str(found[4][0]) for found in socket.getaddrinfo(name, None)}
            except OSError:
                continue
        names = names - EVERYWHERE | own
    return frozenset(_plain(name) for name in names)


def is_loopback(address: str) -> bool:
    """Whether only this machine can reach a server that listens there.

    address    address that is listened on
    """
    return address in LOOPBACK or address.startswith("127.")


def is_allowed(host: str, names: Collection[str]) -> bool:
    """Whether a Host header, with or without a port, is one of the names.

    host     the header
    names    what `names_here` gave
    """
    return "*" in names or name_of(host) in names


def name_of(host: str) -> str:
    """The name in a Host header: lower case, without port, brackets or the root's dot."""
    if host.startswith("["):
        return _plain(host[1:].partition("]")[0])
    return _plain(host.partition(":")[0])


def _plain(name: str) -> str:
    return name.strip().lower().rstrip(".")
