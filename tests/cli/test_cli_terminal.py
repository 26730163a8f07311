"""Pipes, terminals, closed streams, odd encodings, proxies: what surrounds a command."""

from __future__ import annotations

import http.server
import re
import socket
import threading

import pytest

from tests.cli.shell import Shell, Terminal


@pytest.fixture
def some(shell: Shell) -> Shell:
    """A shell with a TaskSet that is held."""
    shell.octopus("submit", "--name", "shown", "--hold", "--no-workspace", "--", "true")
    return shell


def test_a_reader_that_has_enough(some: Shell) -> None:
    """`octopus list | head -1` says nothing on standard error, whatever is left unread."""
    done = some.bash("octopus list | head -1")
    assert done.out.startswith("NAME")
    assert done.err == ""
    closed = some.bash("octopus schema | true; exit ${PIPESTATUS[0]}", code=None)
    assert closed.code in (0, 141)
    assert closed.err == ""
    many = some.bash("for i in 1 2 3; do octopus get shown -o json | head -c 1 >/dev/null; done")
    assert many.err == ""


def test_output_that_cannot_be_written(some: Shell) -> None:
    done = some.bash("octopus list > /dev/full", code=1)
    assert done.err == "octopus: the output can't be written: No space left on device\n"


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&-", ">&- 2>&- <&-"])
def test_streams_that_are_closed(some: Shell, closed: str) -> None:
    assert "Traceback" not in some.bash(f"octopus list {closed}").err
    assert "Traceback" not in some.bash(f"octopus get no-such {closed}", code=4).err


def test_a_terminal_without_our_characters(shell: Shell) -> None:
    """What an encoding lacks is shown as an escape, not as a failure."""
    shell.octopus("submit", "--name", "odd", "--hold", "--no-workspace", "--", "echo", "é", "∞" * 80)
    for encoding in ("ascii", "latin-1"):
        done = shell.octopus("describe", "odd", env={"PYTHONIOENCODING": encoding})
        assert "\\u221e" in done.out
        shell.octopus("get", "odd", "-o", "json", env={"PYTHONIOENCODING": encoding})
    assert "∞" in shell.octopus("describe", "odd", env={"PYTHONIOENCODING": "utf-8"}).out
    assert shell.octopus("get", "né", env={"PYTHONIOENCODING": "ascii"}, code=4).err


def test_tables_fit_the_terminal(some: Shell) -> None:
    some.octopus("submit", "--name", "waits", "--after", "shown", "--no-workspace", "--", "true")
    some.until("waits", lambda view: view.queue_place is not None)  # its reason is written within a second
    terminal = Terminal(some, "list", columns=60)
    assert terminal.close() == 0
    lines = terminal.shown.splitlines()
    assert max(map(len, lines)) == 60
    assert any(line.endswith("…") for line in lines)
    assert "shown to end as Succeeded" in some.octopus("list").out, "a program gets everything"


def test_nothing_to_show_is_said_at_a_terminal_only(shell: Shell) -> None:
    assert (shell.octopus("list", "--label", "no=such").out, shell.octopus("list", "--label", "no=such").err) == (
        "",
        "",
    )
    terminal = Terminal(shell, "list", "--label", "no=such")
    assert terminal.close() == 0
    assert terminal.shown.strip() == "no TaskSets; submit one with `octopus submit`"


def test_a_proxy_of_the_environment_is_ignored_on_loopback(some: Shell) -> None:
    dead = "http://127.0.0.1:9"
    names = ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "ALL_PROXY", "all_proxy")
    assert "shown" in some.octopus("list", env=dict.fromkeys(names, dead)).out
    broken = some.octopus("list", env={"HTTP_PROXY": "foo:bar", "OCTOPUS_URL": "http://hub.example"}, code=5)
    assert "HTTP_PROXY" in broken.complaint


def test_a_service_that_hangs_up(shell: Shell) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            while True:
                try:
                    end, _ = server.accept()
                except OSError:
                    return
                end.recv(100)
                end.sendall(b"this is no HTTP\r\n\r\n")
                end.close()

        threading.Thread(target=serve, daemon=True).start()
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
        done = shell.octopus("list", env={"OCTOPUS_URL": url}, code=5)
    assert url in done.complaint
    assert len(done.err.splitlines()) == 1


def test_another_server_at_that_address(shell: Shell) -> None:
    """A web server that is no octopus service."""

    class Other(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            code = 200 if "queues" in self.path else 404
            self.send_response(code)
            self.end_headers()
            self.wfile.write(b"<html>hello</html>")

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Other) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        env = {"OCTOPUS_URL": f"http://127.0.0.1:{server.server_port}"}
        assert "is it an octopus service?" in shell.octopus("list", env=env, code=4).complaint
        assert "is it an octopus service" in shell.octopus("queues", env=env, code=5).complaint
        server.shutdown()


def test_every_command_has_a_help_page(shell: Shell) -> None:
    text = shell.octopus("--help").out
    for verb in re.findall(r"^    ([a-z-]+)", text, re.M):
        if verb != "up":
            page = shell.octopus(verb, "--help").out
            assert page.startswith("usage: octopus")
            assert max(map(len, page.splitlines())) < 200


# --- completion


def completed(shell: Shell, line: str) -> list[str]:
    """Return what bash offers at the end of a line, with our script."""
    words = line.split(" ")
    quoted = " ".join(f"'{word}'" for word in words)
    script = (
        f"source <(octopus completion bash)\nCOMP_WORDS=({quoted})\nCOMP_CWORD={len(words) - 1}\n"
        f"COMP_LINE='{line}'\nCOMP_POINT={len(line)}\n"
        "function=$(complete -p octopus | sed 's/.*-F \\([^ ]*\\).*/\\1/')\n"
        '"$function" 2>/dev/null\nprintf "%s\\n" "${COMPREPLY[@]}"\n'
    )
    return [word.strip() for word in shell.bash(script).lines if word.strip()]


@pytest.mark.parametrize(
    ("line", "offers", "not_offers"),
    [
        ("octopus su", {"submit"}, {"list"}),
        ("octopus ", {"submit", "list", "describe", "replay"}, set()),
        ("octopus list --ph", {"--phase"}, {"--label"}),
        ("octopus list -o ", {"table", "yaml", "json", "name"}, set()),
        ("octopus secrets ", {"list", "set", "delete"}, set()),
        ("octopus completion ", {"bash", "zsh"}, set()),
        ("octopus describe sh", {"shown"}, {"submit"}),
        ("octopus stop ", {"shown"}, set()),
        ("octopus submit f", {"f.yaml"}, {"shown"}),
        ("octopus submit --workspace d", {"data"}, {"shown"}),
    ],
)
def test_completion_of_bash(some: Shell, line: str, offers: set[str], not_offers: set[str]) -> None:
    some.document("x: 1")
    (some.folder / "data").mkdir()
    found = set(completed(some, line))
    assert offers <= found
    assert not not_offers & found


def test_completion_without_a_service_offers_nothing_and_says_nothing(some: Shell) -> None:
    some.engine.environ["OCTOPUS_URL"] = "http://127.0.0.1:9"
    try:
        assert completed(some, "octopus stop sh") == []
    finally:
        del some.engine.environ["OCTOPUS_URL"]


def test_completion_of_zsh_is_a_script(shell: Shell) -> None:
    script = shell.octopus("completion", "zsh").out
    assert script.startswith("#compdef octopus")
    assert "_octopus_names" in script
