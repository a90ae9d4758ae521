"""What torchrun gives its processes, with a plain socket in the place of its agent's store."""

from __future__ import annotations

import socket

_STORE = socket.create_server(("127.0.0.1", 0), backlog=1024)


def torchrun_variables(rank: int | str, world_size: int = 2, run_id: str = "a") -> dict[str, str]:
    """The variables of one process of a launch whose agent lives as long as the tests run."""
    return {
        "RANK": str(rank),
        "WORLD_SIZE": str(world_size),
        "LOCAL_RANK": str(rank),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(_STORE.getsockname()[1]),
        "TORCHELASTIC_RUN_ID": run_id,
        "TORCHELASTIC_USE_AGENT_STORE": "True",
    }
