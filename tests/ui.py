"""A running ``kedro otel ui``: started as a person starts it, asked as a browser or anybody else would."""

from __future__ import annotations

import http.client
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

MODULE = (sys.executable, "-m", "kedro_otel", "ui")


class Answer(NamedTuple):
    """What the server said."""

    status: int
    body: str
    headers: dict[str, str]


class Ui:
    """The server of a test: ``address`` has the token."""

    def __init__(self, process: subprocess.Popen[str], address: str) -> None:
        self.process = process
        self.address = address
        self.port = urlsplit(address).port or 0
        self._cookie = ""

    @property
    def base(self) -> str:
        """Return the address without the token."""
        return f"http://127.0.0.1:{self.port}/"

    @property
    def cookie(self) -> str:
        """Return the cookie that the first address gives."""
        if not self._cookie:
            query = urlsplit(self.address).query
            found = self.ask(f"/?{query}", cookie=False).headers["set-cookie"]
            self._cookie = found.partition(";")[0]
        return self._cookie

    def ask(
        self,
        path: str,
        headers: Mapping[str, str] | None = None,
        *,
        cookie: bool = True,
        method: str = "GET",
    ) -> Answer:
        """Ask for a path."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        known = {"Cookie": self.cookie} if cookie else {}
        connection.request(method, path, headers={**known, **(headers or {})})
        answer = connection.getresponse()
        found = {key.lower(): value for key, value in answer.getheaders()}
        body = answer.read().decode()
        connection.close()
        return Answer(answer.status, body, found)

    def stop(self) -> int:
        """Type Ctrl-C; return the exit code."""
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(20)


@contextmanager
def serving(folder: Path, *, opens: bool = False) -> Iterator[Ui]:
    """Start the server in ``folder``, and end it; it opens no browser unless it is to."""
    with subprocess.Popen(
        [*MODULE, *([] if opens else ["--no-open"])],
        cwd=folder,
        env=os.environ.copy(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            address = process.stdout.readline().strip()
            if not address.startswith("http://127.0.0.1:"):
                assert process.stderr is not None
                time.sleep(0.2)
                raise AssertionError(address + process.stderr.read())
            yield Ui(process, address)
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
