"""Measure the whole method on the tiny world, from fixed seeds, and print one table.

It draws its datasets into --work_dir, runs the three scripts on them as a user would, and has an
independent judge look at what they made. docs/TINY_WORLD.md says what each line means.
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from aligndiff.core.console import quiet_libraries, say
from aligndiff.core.exits import exit_with
from aligndiff.core.options import OneLineParser
from aligndiff.dataset.entries import SchedulerName
from aligndiff.dataset.images import write_image
from aligndiff.synthesis.heatmaps.table import HEATMAPS
from scripts.reporting import Report, circumstances
from scripts.tiny_world.measure.runs import FULL, QUICK, Clock, MeasurementFolders, Scripts

if TYPE_CHECKING:
    import argparse

    from scripts.tiny_world.measure.parts import Measurement

MODULE = "scripts.tiny_world.measure"
LINES = (1, 2, 3, 4, 5, 6, 7, 8, 9)
EPILOG = (
    "Lines: 1 plain prompts are obeyed, 2 the learned word gives the object's own look, "
    "3 heatmaps, 4 masks, 5 what samples and scenes add to real pairs, 6 lines 2 and 4 over "
    "--bg_lambda, 7 masks of rendered scenes, alone and in company, 8 the look where "
    "step 1 tunes the denoiser too, 9 the rare class. Running it again continues. It leaves "
    "measure.json, measure.md, measure.png, judged.png, gain_picture.png and the scripts' logs in "
    "--work_dir."
)


def main(argv: Sequence[str] | None = None) -> int:
    """Parse, measure, report; 0 when it ran, whatever the figures, unless --strict asks."""
    argv = sys.argv[1:] if argv is None else argv
    args = _parser().parse_args(argv)
    quiet_libraries()

    from scripts.tiny_world.measure.judge import WEIGHTS, load_judge
    from scripts.tiny_world.measure.lines import without_targets
    from scripts.tiny_world.measure.parts import Measurement

    judge_file = (args.judge or WEIGHTS).resolve()
    judge = load_judge(judge_file)
    work = MeasurementFolders(
        (args.work_dir or Path("runs/measure_quick" if args.quick else "runs/measure")).resolve()
    )
    scripts = Scripts(
        work.logs,
        args.seed,
        _whole(args.diffusion_model),
        _whole(args.fss_ckpt_path),
        tuple(f"--{name}={value}" for name, value in _drawing(args).items()),
    )
    continued = work.logs.exists()
    measurement = Measurement(
        judge,
        scripts,
        work,
        QUICK if args.quick else FULL,
        Clock(),
        frozenset(args.lines),
        judge_file,
    )
    measurement.run()

    findings = measurement.findings
    if args.quick:
        findings.lines = without_targets(findings.lines)
    report = _report(argv, args, measurement, continued)
    minutes = sum(measurement.clock.seconds.values()) / 60
    more = {name: value for name, value in asdict(findings).items() if name != "lines"}
    report.write(work.folder, findings.lines, minutes, **more)
    _draw(measurement)
    report.show(findings.lines, minutes)
    say(f"all of it: {work.folder}")
    return 1 if args.strict and any(line.holds is False for line in findings.lines) else 0


def _parser() -> OneLineParser:
    parser = OneLineParser(
        prog=f"python -m {MODULE}", description=__doc__, epilog=EPILOG, allow_abbrev=False
    )
    parser.add_argument(
        "--work_dir",
        type=Path,
        metavar="PATH",
        help="folder for all that is made (default: runs/measure, or runs/measure_quick)",
    )
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of it all (default: 0)")
    parser.add_argument(
        "--lines",
        type=int,
        nargs="+",
        choices=LINES,
        default=LINES,
        metavar="N",
        help="lines of the table to measure, 1 to 9 (default: all of them)",
    )
    parser.add_argument(
        "--quick",
        action="store_true",
        help="very few images and steps, to try the flow; no target is judged",
    )
    parser.add_argument(
        "--strict", action="store_true", help="exit with 1 when a target does not hold"
    )
    drawing = parser.add_argument_group("step 2")
    drawing.add_argument(
        "--num_inference_steps",
        type=int,
        metavar="N",
        help="denoising steps (default: those of the example's dataset.json)",
    )
    drawing.add_argument(
        "--scheduler",
        choices=get_args(SchedulerName),
        help="the sampler (default: the model's own)",
    )
    drawing.add_argument(
        "--heatmap", choices=tuple(HEATMAPS), help="what a heatmap is (default: method)"
    )
    _add_models(parser)
    return parser


def _add_models(parser: OneLineParser) -> None:
    models = parser.add_argument_group("models")
    models.add_argument(
        "--diffusion_model",
        default="tiny",
        metavar="MODEL",
        help="'tiny' or a folder; it must know the tiny world (default: tiny)",
    )
    models.add_argument(
        "--fss_ckpt_path",
        default="tiny",
        metavar="FILE",
        help="'tiny' or an SSP checkpoint (default: tiny)",
    )
    models.add_argument(
        "--judge",
        type=Path,
        metavar="FILE",
        help="weights of the judge (default: the bundled ones)",
    )


def _drawing(args: argparse.Namespace) -> dict[str, object]:
    """The options of step 2 that were typed."""
    named = {
        "num_inference_steps": args.num_inference_steps,
        "scheduler": args.scheduler,
        "heatmap": args.heatmap,
    }
    return {name: value for name, value in named.items() if value is not None}


def _whole(name: str) -> str:
    """A path by its full name, as the scripts run in another folder; other names as they are."""
    return str(Path(name).resolve()) if name != "tiny" and Path(name).exists() else name


def _report(
    argv: Sequence[str], args: argparse.Namespace, measurement: Measurement, continued: bool
) -> Report:
    from scripts.tiny_world.make_example import DEFAULTS
    from scripts.tiny_world.measure.lines import COLUMNS
    from scripts.tiny_world.measure.report import LastSentence

    settings = {
        "seed": args.seed,
        "lines": sorted(set(args.lines)),
        **DEFAULTS,
        **_drawing(args),
        "diffusion_model": Path(args.diffusion_model).name,
        "fss_ckpt_path": Path(args.fss_ckpt_path).name,
    }
    end = LastSentence(args.quick, continued, measurement.clock.seconds)
    details = {**asdict(end), "settings": settings, "effort": measurement.effort}
    where = circumstances(shlex.join(["python", "-m", MODULE, *argv]), details=details)
    return Report("the measurement", "measure", COLUMNS, where, end)


def _draw(measurement: Measurement) -> None:
    """The plots, and the sheet of judged samples."""
    from scripts.tiny_world.measure.plots import findings_plot
    from scripts.tiny_world.measure.sheet import judged_sheet

    folder = measurement.work.folder
    drawn = findings_plot(measurement.findings)
    if drawn is not None:
        write_image(folder / "measure.png", drawn)
    if any(group.samples for group in measurement.groups):
        write_image(folder / "judged.png", judged_sheet(measurement.groups))


if __name__ == "__main__":
    exit_with(main)
