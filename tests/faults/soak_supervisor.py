"""Supervises the workers of the soak: `python -m tests.faults.soak_supervisor 3`.

At SIGUSR1 it writes into the file `claims` how many browsers its table of claims has with a holder.
"""

from __future__ import annotations

import signal
import sys
from pathlib import Path

from flash.command_line import main
from flash.workers.directory import Claims
from tests.support.live_objects import live_objects


def write_claims(*_: object) -> None:
    claimed = sum(len(claims) for claims in live_objects(Claims))
    Path("claims.new").write_text(str(claimed))
    Path("claims.new").rename("claims")


if __name__ == "__main__":
    signal.signal(signal.SIGUSR1, write_claims)
    main(["run", "tests.faults.soak_worker:app", "--port", "0", "--workers", sys.argv[1]])
