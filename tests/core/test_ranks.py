from __future__ import annotations

import os
import socket
import subprocess
import sys

import pytest

from aligndiff.core.errors import InputError
from aligndiff.core.ranks import Share, check_launcher, is_first, is_worker, launched_share, shard
from tests.torchrun import torchrun_variables


@pytest.mark.parametrize("world_size", [1, 2, 3, 7, 20])
def test_shards_are_disjoint_and_complete(world_size: int) -> None:
    items = list(range(17))
    shards = [shard(items, rank, world_size) for rank in range(world_size)]
    assert sorted(item for part in shards for item in part) == items
    assert max(map(len, shards)) - min(map(len, shards)) <= 1


def test_weighted_shards_differ_by_one_item_at_most() -> None:
    weights = [16, 4] * 6
    shards = [shard(range(12), rank, 4, weights) for rank in range(4)]
    assert sorted(item for part in shards for item in part) == list(range(12))
    assert all(part == sorted(part) for part in shards), "in their order"
    loads = [sum(weights[item] for item in part) for part in shards]
    assert max(loads) - min(loads) <= 16
    assert max(loads) == 32, "by turns two of them would get all the heavy ones"


SRUN = {"SLURM_JOB_ID": "5", "SLURM_STEP_ID": "0", "SLURM_TASK_PID": str(os.getpid())}


@pytest.mark.parametrize(
    ("env", "share"),
    [
        ({}, None),
        ({"ALIGNDIFF_RANK": "1", "ALIGNDIFF_WORLD_SIZE": "2"}, Share(1, 2)),
        (torchrun_variables(2, 4), Share(2, 4)),
        (torchrun_variables(0, 1), Share(0, 1)),
        # another rendezvous than torchrun's own: there is no store to ask
        (
            torchrun_variables(2, 4) | {"TORCHELASTIC_USE_AGENT_STORE": "False", "MASTER_PORT": ""},
            Share(2, 4),
        ),
        ({"RANK": "3"}, None),
        ({"RANK": "0", "WORLD_SIZE": "1"}, None),
        (SRUN | {"SLURM_PROCID": "1", "SLURM_NTASKS": "8"}, Share(1, 8)),
        (SRUN | {"SLURM_PROCID": "0", "SLURM_NTASKS": "1"}, None),
        # the script of a task, or the shell that it was started by
        (
            SRUN | {"SLURM_PROCID": "1", "SLURM_NTASKS": "8", "SLURM_TASK_PID": str(os.getppid())},
            Share(1, 8),
        ),
        # the job's own batch script, which runs once
        ({"SLURM_PROCID": "0", "SLURM_NTASKS": "8", "SLURM_JOB_ID": "5"}, None),
        # the shell of salloc is a step of one task in a job of many
        (
            SRUN
            | {"SLURM_PROCID": "0", "SLURM_NTASKS": "8"}
            | {"SLURM_STEP_ID": "4294967290", "SLURM_STEP_NUM_TASKS": "1"},
            None,
        ),
        (
            SRUN | {"SLURM_PROCID": "1", "SLURM_NTASKS": "8", "SLURM_STEP_NUM_TASKS": "4"},
            Share(1, 4),
        ),
        # our own launcher wins over torchrun, torchrun over srun, and srun over what is left over
        (
            torchrun_variables(3, 4) | {"ALIGNDIFF_RANK": "0", "ALIGNDIFF_WORLD_SIZE": "2"},
            Share(0, 2),
        ),
        (SRUN | torchrun_variables(3, 4) | {"SLURM_PROCID": "0", "SLURM_NTASKS": "2"}, Share(3, 4)),
        (
            SRUN | {"RANK": "0", "WORLD_SIZE": "4", "SLURM_PROCID": "1", "SLURM_NTASKS": "2"},
            Share(1, 2),
        ),
    ],
)
def test_launchers(
    env: dict[str, str], share: Share | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    assert launched_share() == share
    check_launcher()
    assert is_worker() == ("ALIGNDIFF_RANK" in env)
    assert is_first() == (share is None or (share.rank == 0 and not is_worker()))


def closed_port() -> str:
    """A port at which nothing listens any more."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return str(server.getsockname()[1])


@pytest.mark.parametrize(
    "env",
    [
        {"RANK": "0", "WORLD_SIZE": "4"},
        {"RANK": "0", "WORLD_SIZE": "4", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29500"},
        torchrun_variables(0, 4) | {"MASTER_PORT": closed_port()},
        torchrun_variables(0, 4) | {"MASTER_ADDR": "no.such.host.invalid"},
        torchrun_variables(0, 4) | {"MASTER_PORT": "none"},
    ],
    ids=["rank only", "no run", "the agent is gone", "no host", "no port"],
)
def test_variables_of_torchrun_without_torchrun(
    env: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other processes would be waited for, and never come."""
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(InputError) as error:
        check_launcher()
    assert launched_share() is None and is_first(), "commands of one process do all of their work"
    assert error.value.problems == (
        "RANK=0 and WORLD_SIZE=4 are set, but no torchrun stands behind this process: 'unset RANK "
        "WORLD_SIZE' to do all of the work here, or start the command with torchrun",
    )


@pytest.mark.parametrize("task", [None, "", "0", "nonsense", "the ended child of this process"])
def test_variables_of_srun_without_srun(task: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    if task is not None and task.startswith("the ended"):
        ended = subprocess.Popen(["true"])
        ended.wait()
        task = str(ended.pid)
    variables = {"SLURM_JOB_ID": "5", "SLURM_STEP_ID": "0"}
    variables |= {"SLURM_PROCID": "0", "SLURM_NTASKS": "4"}
    for name, value in (variables | ({} if task is None else {"SLURM_TASK_PID": task})).items():
        monkeypatch.setenv(name, value)
    with pytest.raises(InputError) as error:
        check_launcher()
    assert launched_share() is None and is_first()
    assert error.value.problems == (
        "SLURM_PROCID=0 and SLURM_NTASKS=4 are set, but no srun stands behind this process: 'unset "
        "SLURM_PROCID SLURM_NTASKS' to do all of the work here, or start the command with srun",
    )


def test_a_task_of_srun_may_be_a_script_that_starts_the_command() -> None:
    code = "from aligndiff.core.ranks import launched_share; print(launched_share())"
    script = 'export SLURM_TASK_PID=$$; bash -c \'"$0" -c "$1"; true\' "$@"; true'
    variables = {"SLURM_JOB_ID": "5", "SLURM_STEP_ID": "0"}
    variables |= {"SLURM_PROCID": "1", "SLURM_NTASKS": "4"}
    done = subprocess.run(
        ["bash", "-c", script, "bash", sys.executable, code],
        env=os.environ | variables,
        capture_output=True,
        text=True,
    )
    assert (done.stdout, done.stderr) == ("Share(rank=1, world_size=4)\n", "")


@pytest.mark.parametrize(
    ("env", "problem"),
    [
        (
            {"RANK": "4", "WORLD_SIZE": "4"},
            "RANK=4 with WORLD_SIZE=4: the rank must be a whole number from 0 to the world size "
            "less 1; correct or unset these variables",
        ),
        (
            SRUN | {"SLURM_PROCID": "a", "SLURM_NTASKS": "2"},
            "SLURM_PROCID=a with SLURM_NTASKS=2: the rank must be a whole number from 0 to the "
            "world size less 1; correct or unset these variables",
        ),
        (
            {"ALIGNDIFF_RANK": "0"},
            "ALIGNDIFF_RANK and ALIGNDIFF_WORLD_SIZE go together; set both or neither",
        ),
    ],
)
def test_contradicting_variables(
    env: dict[str, str], problem: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(InputError) as error:
        launched_share()
    assert error.value.problems == (problem,)
