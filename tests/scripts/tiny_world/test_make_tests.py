"""Test scenes of the example objects: exact, fresh, and crowded when asked for."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from aligndiff.core.errors import InputError
from aligndiff.dataset.support import load_support
from scripts.tiny_world import make_tests
from scripts.tiny_world.world.example import EXAMPLES, resembles_an_example


@pytest.mark.parametrize("crowded", [False, True])
def test_scenes_show_the_object_and_nothing_of_its_look(crowded: bool) -> None:
    for category, look in EXAMPLES.items():
        scenes = make_tests.fresh_scenes(category, 6, crowded)
        assert [len(scene.things) for scene in scenes] == [2 if crowded else 1] * 6
        for scene in scenes:
            assert (scene.things[0].category, scene.things[0].look) == (category, look)
            assert not any(resembles_an_example(thing.look) for thing in scene.things[1:])
        assert len({scene.seed for scene in scenes}) == 6


def test_the_script_leaves_pairs_that_scripts_evaluate_reads(tmp_path: Path, capsys) -> None:
    argv = ["--output_dir", str(tmp_path / "tests"), "--scenes", "2", "--crowded"]
    assert make_tests.main(argv) == 0
    assert "2 scenes of each of fish, mushroom" in capsys.readouterr().out
    for category in EXAMPLES:
        pairs = load_support(tmp_path / "tests" / category)
        assert [pair.name for pair in pairs] == ["1", "2"]
        assert all(np.mean(pair.mask) > 0.02 for pair in pairs)
    with pytest.raises(InputError, match="--scenes: must be 1 to 10000, is 0"):
        make_tests.main(["--output_dir", str(tmp_path), "--scenes", "0"])
