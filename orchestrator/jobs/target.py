"""Which cluster, and the token for it.

The token is read from a file or the environment, never from the command line, where every user of
the machine could see it. It is held in an object that does not show it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from had_core.errors import BadInput
from had_core.paths import expanded
from orchestrator.jobs.local.state import LocalCluster, default_folder, read_state

LOOPBACK = ("127.0.0.1", "localhost", "::1")
_RAYS_TOKEN = Path(".ray") / "auth_token"  # below the home folder; where Ray looks itself


@dataclass(frozen=True)
class Target:
    """A cluster's dashboard.

    Attributes:
        url: ``http://host:port``.
        token: None where there is none.
        source: where the token came from, for messages.
        local: the local cluster that it is, None for any other.
    """

    url: str
    token: str | None = field(default=None, repr=False)
    source: str = ""
    local: LocalCluster | None = None

    @property
    def host(self) -> str:
        return urlsplit(self.url).hostname or ""

    @property
    def is_loopback(self) -> bool:
        """On this machine, or at the end of a tunnel."""
        return self.host in LOOPBACK

    @property
    def in_the_clear(self) -> bool:
        """Whether the token would cross a network for everyone to read."""
        return self.token is not None and self.url.startswith("http:") and not self.is_loopback


def find_target(
    address: str | None,
    token_path: str | None = None,
    *,
    environment: Mapping[str, str] = os.environ,
    state: Path | None = None,
) -> Target:
    """The cluster at ``address``; without one, the local cluster that is up.

    The token is, in this order: the file that is named, Ray's RAY_AUTH_TOKEN and
    RAY_AUTH_TOKEN_PATH, the local cluster's own, Ray's file in the home folder.

    Raises:
        BadInput: no address and no local cluster, an address that is none, a token file that
            cannot be read.
    """
    local = read_state(state or default_folder())
    if not address:
        if local is None:
            raise BadInput(
                "no cluster is named: --address http://HOST:8265 (or HAD_ADDRESS), or had cluster "
                "up --local 3 to try it here"
            )
        address = local.address
    url = _url(address)
    if local is not None and _url(local.address) != url:
        local = None
    token, source = _token(token_path, environment, local)
    return Target(url, token, source, local)


def _url(address: str) -> str:
    text = address if "://" in address else f"http://{address}"
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        parts, port = urlsplit(""), None
    if parts.scheme not in ("http", "https") or not parts.hostname or " " in text:
        raise BadInput(
            f"address={address} is not allowed: the address of a cluster's dashboard, such as "
            "http://127.0.0.1:8265"
        )
    if parts.username or parts.password or parts.query:
        raise BadInput("address is not allowed to hold a user, password or query: http://HOST:PORT")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    default = 443 if parts.scheme == "https" else 8265
    return f"{parts.scheme}://{host}:{port or default}{parts.path.rstrip('/')}"


def _token(
    path: str | None, environment: Mapping[str, str], local: LocalCluster | None
) -> tuple[str | None, str]:
    if path is not None:
        return _read(expanded(path)), path
    if environment.get("RAY_AUTH_TOKEN"):
        return environment["RAY_AUTH_TOKEN"].strip(), "RAY_AUTH_TOKEN"
    if environment.get("RAY_AUTH_TOKEN_PATH"):
        named = environment["RAY_AUTH_TOKEN_PATH"]
        return _read(expanded(named)), f"RAY_AUTH_TOKEN_PATH={named}"
    if local is not None:
        return _read(Path(local.token_path)), local.token_path
    default = Path.home() / _RAYS_TOKEN
    if default.is_file():
        return _read(default), str(default)
    return None, ""


def _read(path: Path) -> str:
    try:
        token = path.read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is no text"
        raise BadInput(f"the token file {path} cannot be read: {reason}") from None
    if not token or not token.isprintable() or " " in token:
        raise BadInput(f"the token file {path} holds no token: one line, as Ray writes it")
    return token
