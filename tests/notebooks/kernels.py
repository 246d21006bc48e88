"""A real Jupyter kernel, whose cells a test runs.

kernel = Kernel()
outcome = kernel.run("app.run(port=8050)")        # outcome.displayed, .printed, .error
kernel.close()
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from jupyter_client.manager import KernelManager

from tests.support.eventually import TIMEOUT


@dataclass
class Outcome:
    """What a cell has shown.

    Attributes:
        displayed: the data that it has displayed, by MIME type.
        printed: what it has printed, its errors apart.
        error: the type and message of the exception that it has raised; "" if it has raised none.
    """

    displayed: list[dict[str, str]] = field(default_factory=list[dict[str, str]])
    printed: str = ""
    error: str = ""

    def take(self, message: Any) -> None:
        content = message["content"]
        match message["msg_type"]:
            case "display_data":
                self.displayed.append(content["data"])
            case "stream" if content["name"] == "stdout":
                self.printed += content["text"]
            case "error":
                self.error = f"{content['ename']}: {content['evalue']}"
            case _:
                pass


class Kernel:
    """A kernel of this Python."""

    def __init__(self) -> None:
        # Unix sockets: it needs no ports, and warns of none.
        self._manager: Any = KernelManager(kernel_name="python3", transport="ipc")
        self._manager.start_kernel()
        self._client = self._connect()

    def _connect(self) -> Any:
        client = self._manager.client()
        client.start_channels()
        client.wait_for_ready(timeout=TIMEOUT)
        return client

    def run(self, code: str, *, interrupt_when_printed: str = "") -> Outcome:
        """Run a cell; interrupt it once it has printed something."""
        outcome = Outcome()
        has_interrupted = False

        def take(message: Any) -> None:
            nonlocal has_interrupted
            outcome.take(message)
            if interrupt_when_printed and interrupt_when_printed in outcome.printed and not has_interrupted:
                has_interrupted = True
                self._manager.interrupt_kernel()

        self._client.execute_interactive(code, timeout=TIMEOUT, output_hook=take, allow_stdin=False)
        return outcome

    def restart(self) -> None:
        self._client.stop_channels()
        self._manager.restart_kernel()
        self._client = self._connect()

    def close(self) -> None:
        self._client.stop_channels()
        self._manager.shutdown_kernel()
        self._manager.cleanup_resources()
