"""What must hold before anything starts; each failure is one sentence with the way out."""

from __future__ import annotations

import contextlib
import getpass
import ipaddress
import json
import os
import secrets
import socket
import sys
from pathlib import Path

from octopus_hub.model.errors import Refused, StateError, Unavailable

PORT_NAMES = ("service", "hub", "proxy_api")


def check_platform(platform: str = sys.platform) -> None:
    """Refuse anything but Linux."""
    if not platform.startswith("linux"):
        raise Unavailable(f"octopus-hub runs on Linux (WSL included), not on {platform}; use a Linux machine or WSL")


def user_name(given: str) -> str:
    """Return who may log in, as the hub writes it; raises Unavailable when this account has no name."""
    try:
        return (given or getpass.getuser()).lower()  # the hub knows no capitals
    except (KeyError, OSError):
        raise Unavailable(f"this account (uid {os.getuid()}) has no name; give one with --user NAME") from None


def listen_address(text: str) -> str:
    """Return the numeric address to listen on; raises Unavailable for one that is none."""
    text = "127.0.0.1" if text == "localhost" else text.strip("[]")
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        raise Unavailable(
            f"--ip {text!r} is not an address of this machine; give a numeric one, e.g. 127.0.0.1 or 0.0.0.0"
        ) from None


def check_port(ip: str, port: int) -> None:
    """Refuse a port that is in use, or not ours to use."""
    if not 0 < port < 65536:
        raise Refused(f"port {port} does not exist; choose one between 1024 and 65535 with --port")
    family = socket.AF_INET6 if ":" in ip else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((ip, port))
        except PermissionError:
            raise Refused(f"port {port} needs root; choose one above 1023 with --port") from None
        except OSError as error:
            reason = "is in use" if error.errno == 98 else f"can't be used ({error.strerror})"
            raise Unavailable(
                f"port {port} on {ip} {reason}; stop what listens there or choose another with "
                f"--port (make run PORT={port + 1})"
            ) from None


def free_port() -> int:
    """Return a loopback port that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def inner_ports(state: Path) -> dict[str, int]:
    """Return the loopback ports of the inner parts, the same at every start where they are still free.

    Servers that outlived an engine know the service by its port, so it must not move without need.
    """
    file = state / "ports.json"
    known: dict[str, int] = {}
    with contextlib.suppress(OSError, ValueError):
        known = {str(name): int(port) for name, port in json.loads(file.read_text()).items()}
    ports: dict[str, int] = {}
    for name in PORT_NAMES:
        port = known.get(name, 0)
        if not port or port in ports.values() or not _bindable(port):
            port = free_port()
        ports[name] = port
    write_private(file, json.dumps(ports))
    return ports


def private_file(path: Path, size: int = 24) -> str:
    """Return the secret in ``path``, generated at first use, readable by its owner only."""
    try:
        text = path.read_text().strip()
        if text:
            return text
    except FileNotFoundError:
        pass
    text = secrets.token_urlsafe(size)
    write_private(path, text)
    return text


def write_private(path: Path, text: str) -> None:
    """Write a file that only its owner can read, whole or not at all."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        raise StateError(
            f"{path.parent} can't be written ({error.strerror}); give another folder with --state"
        ) from None


def _bindable(port: int) -> bool:
    try:
        check_port("127.0.0.1", port)
    except (Unavailable, Refused):
        return False
    return True
