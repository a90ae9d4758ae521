"""A Ray cluster of two nodes on this machine, and one of them lost in the middle of step 2."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any

from scripts.drill.datasets import DrillDatasets, await_work
from scripts.drill.lines import line, skipped
from scripts.drill.snapshots import broken_files
from scripts.reporting import Line

RAY_WORDS = ("--launcher", "ray", "--ray_address")
_WHAT = "step 2: one of two Ray nodes is removed"


def has_ray() -> bool:
    return find_spec("ray") is not None


@contextmanager
def two_nodes() -> Iterator[tuple[str, Any, Any]]:
    """While open, a cluster of two nodes of a CPU each: its address, itself, the second node."""
    os.environ |= {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0", "RAY_USAGE_STATS_ENABLED": "0"}
    from ray.cluster_utils import Cluster

    head = {"num_cpus": 1, "num_gpus": 0, "include_dashboard": False}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    try:
        second = cluster.add_node(num_cpus=1, num_gpus=0)
        yield cluster.address, cluster, second
    finally:
        cluster.shutdown()


def drill(datasets: DrillDatasets) -> Iterator[Line]:
    if datasets.config.quick:
        return
    if not has_ray():
        yield skipped("ray", _WHAT, "Ray is not installed")
        return
    started = time.monotonic()
    datasets.made(2)
    with two_nodes() as (address, cluster, second):
        dataset = datasets.fresh(2)
        command, watch = datasets.begin(2, dataset, *RAY_WORDS, address)
        with command:
            problems = [] if await_work(command, watch) else ["it ended before it began"]
            cluster.remove_node(second, allow_graceful=False)
            problems += broken_files(dataset)
            ended = command.wait()
    problems += ended.problems() + datasets.compare(2, dataset)
    lost = ended.said.count("an actor was lost")
    if not lost:
        problems.append("no actor was lost: it was over too soon, or nobody says so")
    fine = f"{lost} actors were lost, their work was done elsewhere; the same bytes"
    yield line("ray", _WHAT, 1, fine, problems, started)
