"""The addresses of stores. Nothing of a refused one is shown, since it may hold a secret."""

from __future__ import annotations

from urllib.parse import urlsplit

from contracts.errors import Fatal


def host_and_path(url: str, what: str) -> tuple[str, str]:
    """Host with port, and path without a slash at its end; Fatal, which names it `what`, if there is more to it."""
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        raise Fatal(f"{what} cannot be read", next_step="write scheme://host:port/path") from None
    if "@" in parts.netloc:
        raise Fatal(
            f"{what} holds a user or a password",
            next_step="leave them out: S3's come from the environment, a profile or the instance's role; HDFS' user is "
            "named apart from the URL",
        )
    if parts.query or parts.fragment or url != url.strip() or any(ord(character) < 32 for character in url):
        raise Fatal(f"{what} holds a query, a fragment or white space", next_step="write scheme://host:port/path")
    return parts.netloc, parts.path.rstrip("/")


def http_address(url: str, what: str, example: str) -> str:
    """`http(s)://host:port` as it was given, without a slash at its end; Fatal if it is anything else."""
    scheme = url.partition("://")[0].lower()
    host, path = host_and_path(url, what)
    if scheme not in ("http", "https") or not host or path:
        raise Fatal(f"{what} is not of the form http(s)://host:port", next_step=f"write it like {example}")
    return f"{scheme}://{host}"
