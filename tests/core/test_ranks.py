from __future__ import annotations

import pytest

from aligndiff.core.errors import InputError
from aligndiff.core.ranks import Share, is_first, is_worker, launched_share

VARIABLES = ["ALIGNDIFF_RANK", "ALIGNDIFF_WORLD_SIZE", "RANK", "WORLD_SIZE"]
SLURM = [f"SLURM_{n}" for n in ("PROCID", "NTASKS", "JOB_ID", "STEP_ID", "STEP_NUM_TASKS")]


@pytest.fixture(autouse=True)
def no_launcher(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES + SLURM:
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize("world_size", [1, 2, 3, 7, 20])
def test_shares_are_disjoint_and_complete(world_size: int) -> None:
    items = list(range(17))
    shares = [Share(rank, world_size).of(items) for rank in range(world_size)]
    assert sorted(item for share in shares for item in share) == items
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


def test_weighted_shares_differ_by_one_item_at_most() -> None:
    weights = [16, 4] * 6
    shares = [Share(rank, 4).of(range(12), weights) for rank in range(4)]
    assert sorted(item for share in shares for item in share) == list(range(12))
    assert all(share == sorted(share) for share in shares), "in their order"
    loads = [sum(weights[item] for item in share) for share in shares]
    assert max(loads) - min(loads) <= 16
    assert max(loads) == 32, "by turns two of them would get all the heavy ones"


@pytest.mark.parametrize(
    ("env", "share"),
    [
        ({}, None),
        ({"ALIGNDIFF_RANK": "1", "ALIGNDIFF_WORLD_SIZE": "2"}, Share(1, 2)),
        ({"RANK": "2", "WORLD_SIZE": "4", "LOCAL_RANK": "0"}, Share(2, 4)),
        ({"RANK": "0", "WORLD_SIZE": "1"}, Share(0, 1)),
        ({"RANK": "3"}, None),
        ({"SLURM_PROCID": "1", "SLURM_NTASKS": "8"}, Share(1, 8)),
        ({"SLURM_PROCID": "0", "SLURM_NTASKS": "1"}, None),
        # srun inside a job, and the job's own batch script, which runs once
        (
            {"SLURM_PROCID": "1", "SLURM_NTASKS": "8", "SLURM_JOB_ID": "5", "SLURM_STEP_ID": "0"},
            Share(1, 8),
        ),
        ({"SLURM_PROCID": "0", "SLURM_NTASKS": "8", "SLURM_JOB_ID": "5"}, None),
        # the shell of salloc is a step of one task in a job of many
        (
            {"SLURM_PROCID": "0", "SLURM_NTASKS": "8", "SLURM_JOB_ID": "5"}
            | {"SLURM_STEP_ID": "4294967290", "SLURM_STEP_NUM_TASKS": "1"},
            None,
        ),
        (
            {"SLURM_PROCID": "1", "SLURM_NTASKS": "8", "SLURM_JOB_ID": "5"}
            | {"SLURM_STEP_ID": "0", "SLURM_STEP_NUM_TASKS": "4"},
            Share(1, 4),
        ),
        # our own launcher wins over torchrun, torchrun over srun
        (
            {"ALIGNDIFF_RANK": "0", "ALIGNDIFF_WORLD_SIZE": "2", "RANK": "3", "WORLD_SIZE": "4"},
            Share(0, 2),
        ),
        (
            {"RANK": "3", "WORLD_SIZE": "4", "SLURM_PROCID": "0", "SLURM_NTASKS": "2"},
            Share(3, 4),
        ),
    ],
)
def test_launchers(
    env: dict[str, str], share: Share | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    assert launched_share() == share
    assert is_worker() == ("ALIGNDIFF_RANK" in env)
    assert is_first() == (share is None or (share.rank == 0 and not is_worker()))


@pytest.mark.parametrize(
    ("env", "problem"),
    [
        (
            {"RANK": "4", "WORLD_SIZE": "4"},
            "RANK=4 with WORLD_SIZE=4: the rank must be a whole number from 0 to the world size "
            "less 1; correct or unset these variables",
        ),
        (
            {"SLURM_PROCID": "a", "SLURM_NTASKS": "2"},
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
