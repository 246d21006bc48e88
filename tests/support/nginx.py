"""A real nginx in front of servers, with its own default settings and exactly the snippet of `docs/deployment.md`.

def test_something(nginx: Nginx) -> None:
    port = nginx(server.port)
"""

from __future__ import annotations

import contextlib
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import flash
from tests.support.connections import free_port
from tests.support.processes import running

DOCUMENTED = Path(flash.__file__).parents[1] / "docs" / "deployment.md"

CONFIGURATION = """
daemon off;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{}}
http {{
    sendfile on;
    tcp_nopush on;
    gzip on;
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    upstream app {{
        {servers}
    }}
    server {{
        listen 127.0.0.1:{port};
        include {folder}/more.conf;
        {snippet}
    }}
}}
"""

Nginx = Callable[..., int]
"""The type of the fixture; what is called returns the port of nginx."""


def documented_snippet() -> str:
    """What the documentation says that nginx needs."""
    snippet, *_ = re.findall(r"```nginx\n(.*?)```", DOCUMENTED.read_text(), re.DOTALL)
    assert "http://127.0.0.1:8000" in snippet
    return snippet


@pytest.fixture
def nginx(tmp_path: Path) -> Iterator[Nginx]:
    """Starts an nginx in front of servers, which it asks in turn.

    A server is a port of 127.0.0.1, or host:port. Further settings, `more`, are for nginx's block `server`.
    """
    program = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")
    assert program is not None, "These tests need nginx: apt-get install nginx-light."
    with contextlib.ExitStack() as processes:

        def start(*targets: int | str, more: str = "") -> int:
            port = free_port()
            addresses = [f"127.0.0.1:{target}" if isinstance(target, int) else target for target in targets]
            settings = {
                "folder": tmp_path,
                "port": port,
                "servers": " ".join(f"server {address};" for address in addresses),
                "snippet": documented_snippet().replace("127.0.0.1:8000", "app"),
            }
            configuration = tmp_path / "nginx.conf"
            configuration.write_text(CONFIGURATION.format(**settings))
            (tmp_path / "more.conf").write_text(more)
            command = [program, "-p", str(tmp_path), "-e", "stderr", "-c", str(configuration)]
            process = processes.enter_context(running(command, tmp_path))
            process.wait_for(lambda: is_listening(port), "nginx listens")
            return port

        yield start


def is_listening(port: int) -> bool:
    """Whether something listens at a port."""
    entry = f"0100007F:{port:04X} 00000000:0000 0A"
    return entry in Path("/proc/net/tcp").read_text()
