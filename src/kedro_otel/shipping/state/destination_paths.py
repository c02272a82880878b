"""Where the files of one destination are.

A journal belongs to a machine. In a home folder that several machines share each keeps its own, with its own
``service.instance.id``; in a copied one the copy begins anew; and each machine ships what was recorded on it.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Final, NamedTuple

from kedro_otel import guard
from kedro_otel.config import paths
from kedro_otel.recording import machine

if TYPE_CHECKING:
    from pathlib import Path

    from kedro_otel.config.destination import Destination

SHARED: Final = "shared"
"""Stands for the machine where ``KEDRO_OTEL_HOME`` is a volume mounted into containers, each of them a machine of its own."""

COPY: Final = "copy-"
"""Begins the generation of what is recorded beside a copy of a journal, before anybody went on with it."""

_HEAD_BYTES: Final = 4096
_NAME: Final = re.compile(r"journal-([0-9a-z]{1,32})\.json")


class DestinationPaths(NamedTuple):
    """Files of one destination on this machine."""

    folder: Path
    machine: str

    @property
    def journal(self) -> Path:
        """The journal."""
        return self.folder / f"journal-{self.machine}.json"

    @property
    def lock(self) -> Path:
        """What the shipper holds while it runs."""
        return self.folder / f"shipper-{self.machine}.lock"

    @property
    def wake(self) -> Path:
        """What is touched to make a waiting shipper try at once."""
        return self.folder / f"wake-{self.machine}"

    @property
    def flush(self) -> Path:
        """What is touched to make a shipper that follows a run send its counters at once: a command is about to end."""
        return self.folder / f"flush-{self.machine}"

    @property
    def ask(self) -> Path:
        """What is touched to make the detached shipper end after its round: somebody in the foreground goes on."""
        return self.folder / f"ask-{self.machine}"

    @property
    def letters(self) -> Path:
        """What a receiver refused for good."""
        return self.folder / f"refused-{self.machine}.jsonl"

    @property
    def log(self) -> Path:
        """What the detached process has to say."""
        return self.folder / f"shipper-{self.machine}.log"


def of(destination: str) -> DestinationPaths:
    """Return the files of the destination with this id."""
    return DestinationPaths(paths.destinations() / destination, sender())


def generation(destination: str) -> str:
    """Return which generation of the journal there is now, and how many commits it has: ``id:number``.

    A recording carries it, so that a journal that was put back as it was is told from the recordings that came after. It
    is "" where there is none, and names the file where that is a copy that nobody has gone on with.
    """
    import json

    try:
        with open(of(destination).journal, "rb") as file:
            facts = json.loads(file.readline(_HEAD_BYTES))
            inode = os.fstat(file.fileno()).st_ino
        if str(facts["file"]).partition(":")[0] != str(inode):
            return f"{COPY}{inode}"
        return f"{facts['generation']}:{int(facts['sequence'])}"
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        guard.let_through(error)
        return ""


def receiver(target: Destination) -> str:
    """Return scheme, host and port of a receiver: what may be written down and shown. Some keep a token in the path."""
    scheme, separator, rest = (target.traces or target.metrics or "").rpartition("://")
    return f"{scheme}{separator}{rest.partition('/')[0]}"


def sender() -> str:
    """Return whose journals are read and written here."""
    from kedro_otel.shipping.process.environment import in_container, mounted

    return (
        SHARED
        if mounted(os.environ.get(paths.HOME_VARIABLE, "").strip()) and in_container(os.environ)
        else machine.machine_id()
    )


def mine(machine_id: str) -> bool:
    """Return whether what the machine with this id recorded is shipped from here."""
    here = sender()
    return here in (SHARED, machine_id)


def journals() -> list[tuple[str, str, Path]]:
    """Return id of destination, machine and path of every journal here."""
    try:
        found = sorted(
            path for path in paths.destinations().glob("*/journal-*.json") if not path.is_symlink()
        )
    except OSError as error:
        guard.let_through(error)
        return []
    return [
        (path.parent.name, match[1], path)
        for path in found
        if (match := _NAME.fullmatch(path.name))
    ]
