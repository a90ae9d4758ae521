"""Who does the work: what is found out before anybody does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from aligndiff.core.errors import InputError
from aligndiff.runner.options import RunOptions
from aligndiff.runner.step import carry_out, check_device


class Units:
    """Work that nobody must begin."""

    units = (0, 1)

    def weight(self, unit: Any) -> int:
        return 1

    def category(self, unit: Any) -> str:
        return "fish"

    def make_room(self) -> None:
        raise AssertionError("what is there was touched")

    def do(self, units: Sequence[Any]) -> None:
        raise AssertionError("it has begun")


def test_the_devices_of_rays_machines_are_not_looked_for_here(tmp_path: Path) -> None:
    run = RunOptions(tmp_path, device="cuda")
    with pytest.raises(InputError, match="--device cuda: torch sees no such device here"):
        check_device(run)
    check_device(replace(run, launcher="ray"))
    with pytest.raises(InputError, match="--precision float16 needs a GPU"):
        check_device(RunOptions(tmp_path, precision="float16"))


def test_a_cluster_of_gpus_is_told_its_precision_by_a_machine_that_has_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else "auto" would be the number format of this machine's CPU, on all the GPUs."""
    pytest.importorskip("ray", reason="Ray is an optional package")
    from ray.cluster_utils import Cluster

    head = {"num_cpus": 1, "num_gpus": 1, "include_dashboard": False}
    with monkeypatch.context() as patch:
        patch.setenv("CUDA_VISIBLE_DEVICES", "0")  # Ray believes in it
        cluster = Cluster(initialize_head=True, head_node_args=head)
    try:
        run = RunOptions(tmp_path, launcher="ray", ray_address=cluster.address, precision="float32")
        work = Units()
        for words in ([], ["--precision", "auto"], ["--precision=auto"]):
            with pytest.raises(InputError, match="this machine has none: add --precision bfloat16"):
                carry_out(work, work.units, "module", words, run, "drawing")
        for words in (["--precision", "float16"], ["--precision=float16"]):
            with pytest.raises(AssertionError, match="was touched"):
                carry_out(work, work.units, "module", words, run, "drawing")
    finally:
        cluster.shutdown()
