"""What a process that a run of ours started owes to the process that started it."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from pathlib import Path

from aligndiff.core.ranks import PARENT, UNITS

_POLL = 0.5  # seconds between two looks at the parent
_GRACE = 10.0  # seconds to end in good order after that


def told_units() -> list[int] | None:
    """The numbers of the units of work that the parent gave to this worker; None without one."""
    path = os.environ.get(UNITS)
    if path is None:
        return None
    numbers: list[int] = json.loads(Path(path).read_text())
    return numbers


def end_with_parent() -> None:
    """From now on stop, as by SIGTERM, when the parent is gone, as after its SIGKILL.

    The worker would go on unseen, and get in the way of the run that takes its work up again. One
    that does not hear, deep in another library, is killed a little later.
    """
    parent = os.environ.get(PARENT)
    if parent is None:
        return

    def watch() -> None:
        while os.getppid() == int(parent):
            time.sleep(_POLL)
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(_GRACE)
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=watch, daemon=True).start()
