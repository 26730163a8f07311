"""Where the service is and who we are: explicit arguments, environment, a hub's server, the account's file - in this order.

Reads environment and one file, opens nothing. Called by the two clients when they are made.
"""

from __future__ import annotations

import ipaddress
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from octopus_hub.client.paths import expanded
from octopus_hub.model.errors import InvalidSpec, Unavailable

SERVICE_PATH = "/services/octopus"
API_PATH = "/api/v1"
CLIENT_FILE = "client.json"


@dataclass(frozen=True, slots=True)
class Connection:
    """The service's address and the caller's token.

    Attributes
    ----------
    url : str
        Base of the service without a final slash, e.g. ``http://127.0.0.1:8000/services/octopus``.
    source : str
        Where it was found, for messages.
    """

    url: str
    token: str = field(default="", repr=False)
    source: str = ""

    @property
    def api(self) -> str:
        """Base of the API."""
        return self.url + API_PATH

    @property
    def loopback(self) -> bool:
        """Whether the service is on this machine: proxies of the environment are ignored then."""
        host = urlsplit(self.url).hostname or ""
        try:
            return host == "localhost" or ipaddress.ip_address(host).is_loopback
        except ValueError:
            return host.endswith(".localhost")


def find_connection(
    url: str | None = None, token: str | None = None, environ: Mapping[str, str] | None = None
) -> Connection:
    """Return the connection to use; raises Unavailable when no service is known, InvalidSpec for a bad address."""
    env = os.environ if environ is None else environ
    token = token or env.get("OCTOPUS_TOKEN") or None
    if url:
        return _checked(url, token or "", "the given address")
    if env.get("OCTOPUS_URL"):
        return _checked(env["OCTOPUS_URL"], token or "", "OCTOPUS_URL")
    if env.get("OCTOPUS_SERVICE_URL"):
        given = token or env.get("JUPYTERHUB_API_TOKEN", "")
        return _checked(env["OCTOPUS_SERVICE_URL"], given, "OCTOPUS_SERVICE_URL")
    return _from_file(state_folder(env) / CLIENT_FILE, token)


def state_folder(environ: Mapping[str, str]) -> Path:
    """Return the account's state folder."""
    if environ.get("OCTOPUS_STATE"):
        return expanded(environ["OCTOPUS_STATE"])
    if environ.get("XDG_STATE_HOME"):
        return Path(environ["XDG_STATE_HOME"]) / "octopus-hub"
    return expanded(environ.get("HOME") or "~") / ".local" / "state" / "octopus-hub"


def _from_file(file: Path, token: str | None) -> Connection:
    try:
        found = json.loads(file.read_text())
        return _checked(str(found["url"]), token or str(found["token"]), str(file))
    except FileNotFoundError:
        raise Unavailable(
            "no octopus service is known in this account; start one with `make run` (or `octopus up`), "
            "or set OCTOPUS_URL and OCTOPUS_TOKEN"
        ) from None
    except OSError as error:
        raise Unavailable(f"{file} can't be read ({error.strerror}); set OCTOPUS_URL and OCTOPUS_TOKEN") from None
    except (ValueError, KeyError, TypeError):
        raise Unavailable(f"{file} is damaged; `octopus up` writes it again at its next start") from None


def _checked(url: str, token: str, source: str) -> Connection:
    try:
        parts = urlsplit(url.strip())
        valid = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        valid = False
    if not valid:
        raise InvalidSpec(f"{source} is not an address of a service: {url!r}; it looks like http://127.0.0.1:8000")
    if not (token.isascii() and token.isprintable()):
        raise InvalidSpec(f"the token for {url} holds characters that no token has; was it cut or pasted badly?")
    path = parts.path.rstrip("/").removesuffix(API_PATH)
    if not path.endswith(SERVICE_PATH):
        path += SERVICE_PATH
    return Connection(url=f"{parts.scheme}://{parts.netloc}{path}", token=token.strip(), source=source)
