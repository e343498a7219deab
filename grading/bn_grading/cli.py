"""The command line: grade a class, check one file, list what there is."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from bn_properties.catalogue import PROPERTIES
from bn_properties.records import Results, Status, json_schema
from bn_reports.terminal.class_report import class_report
from bn_reports.terminal.listing import fault_list, property_list
from bn_reports.terminal.submission import submission_report
from bn_reports.text.visible import one_line
from rich.console import Console

from bn_grading.case_bank import DEFAULT_EXAMPLES, DEFAULT_SEED, CaseBank
from bn_grading.classroom.plan import Plan, jobs_for
from bn_grading.completion import PROGRAM, completion, courses, isolations
from bn_grading.courses.model import Course, CourseError, built_in, find
from bn_grading.intake.paths import collect, single
from bn_grading.intake.submission import PathError
from bn_grading.log import write_log
from bn_grading.report_commands import MarkdownOption, compare, report
from bn_grading.subject.isolation import Level
from bn_grading.subject.levels import NoSuchLevel, candidates, lacking, wanted
from bn_grading.subject.levels import chosen as chosen_level
from bn_grading.tape_cache import FOLDER, Cache
from bn_grading.usage import GRADER_FAILED, INTERRUPTED
from bn_grading.usage import stop as _stop
from bn_grading.versions import environment, tool

if TYPE_CHECKING:
    from bn_grading.classroom.ledger import Ledger

app = typer.Typer(
    name=PROGRAM,
    help="Grade batch-normalization implementations against a float64 oracle.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

CourseOption = Annotated[
    str,
    typer.Option(
        "--course",
        metavar="NAME|FILE.toml|auto",
        help="Which course's names.",
        autocompletion=courses,
    ),
]
SeedOption = Annotated[int, typer.Option("--seed", min=0, max=2**32 - 1, help="For the cases.")]
IsolationOption = Annotated[
    str,
    typer.Option(
        "--isolation",
        metavar="auto|full|lockdown|none",
        help="How submissions are kept apart.",
        autocompletion=isolations,
    ),
]
LogOption = Annotated[
    Path | None,
    typer.Option("--log", metavar="FILE", help="Write what the grader does, and its errors."),
]
DebugOption = Annotated[
    bool, typer.Option("--debug", help="Show what the grader does, and its errors.")
]
ExamplesOption = Annotated[
    int, typer.Option("--examples", min=11, max=10_000, help="How many cases to draw.")
]


def _course(name: str) -> Course | None:
    try:
        return None if name == "auto" else find(name)
    except CourseError as error:
        _stop(str(error))


def _jobs(text: str, count: int) -> int:
    if text == "auto":
        return jobs_for(count)
    if not text.isascii() or not text.isdigit() or int(text) == 0:
        _stop(f"--jobs is {text!r}, but must be a positive number or auto")
    return min(int(text), max(1, count))


@app.command()
def grade(
    paths: Annotated[
        list[str],
        typer.Argument(metavar="PATH...", help="Files, and folders of submissions."),
    ],
    course: CourseOption = "auto",
    seed: SeedOption = DEFAULT_SEED,
    jobs: Annotated[
        str, typer.Option("--jobs", metavar="N|auto", help="How many submissions at once.")
    ] = "auto",
    examples: ExamplesOption = DEFAULT_EXAMPLES,
    out: Annotated[
        Path, typer.Option("--out", metavar="DIR", help="Where the report goes.")
    ] = Path("bnoracle-report"),
    only: Annotated[
        list[str] | None,
        typer.Option("--only", metavar="ID", help="Grade this submission alone (repeatable)."),
    ] = None,
    regrade: Annotated[
        bool, typer.Option("--regrade", help="Grade again what has not changed.")
    ] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Write into a folder that holds other files.")
    ] = False,
    scheduler: Annotated[
        str | None,
        typer.Option("--scheduler", metavar="tcp://HOST:PORT", help="Grade on a Dask cluster."),
    ] = None,
    isolation: IsolationOption = "auto",
    allow_unisolated: Annotated[
        bool, typer.Option("--allow-unisolated", help="Grade even where nothing keeps them apart.")
    ] = False,
    log: LogOption = None,
    debug: DebugOption = False,
) -> None:
    """Grade a class: a line a submission in the terminal, a page each in DIR/index.html.

    What an earlier run into DIR has graded, and has not changed since, is kept: the same command
    goes on where one was interrupted.
    """
    # What a class takes, nothing else waits for: processes, pages.
    from bn_grading.classroom.class_run import Wanted, grade_class  # noqa: PLC0415
    from bn_grading.classroom.cluster import NoCluster  # noqa: PLC0415
    from bn_grading.classroom.interrupts import Interrupts  # noqa: PLC0415
    from bn_grading.classroom.progress import Display  # noqa: PLC0415

    chosen = _course(course)
    try:
        found = collect(paths)
    except PathError as error:
        _stop(str(error))
    _tell_skipped(found.skipped)
    ids = [submission.id for submission in found.submissions]
    _known(only or (), ids)
    workers = _jobs(jobs, len(ids))
    level = _level(isolation, allow_unisolated)
    ledger = _claimed(out, ids, force)
    _log_to(log, debug)
    _warn_of_other_versions(out, ledger.earlier)
    bank = CaseBank(seed, examples)
    known = list(built_in().values())
    plan = Plan(found.submissions, chosen, known, bank, workers, (level,))
    interrupts, errors = Interrupts(), Console(stderr=True)
    try:
        with interrupts, Display(interrupts, errors) as display:
            wanted = Wanted(only or (), regrade)
            report = grade_class(plan, ledger, display, wanted, scheduler)
    except NoCluster as error:
        _stop(f"--scheduler {error}")
    except OSError as error:
        print(
            f"bnoracle: {error.filename or out} cannot be written: {error.strerror}; what was "
            f"graded before is kept in {out}, and the same command goes on from there",
            file=sys.stderr,
        )
        raise typer.Exit(GRADER_FAILED) from None
    if report.stopped:
        done = f"{len(report.results.submissions)} of {len(ids)}"
        print(
            f"bnoracle: {report.stopped}; {done} are graded, and kept in {out}: the same command "
            "goes on from there",
            file=sys.stderr,
        )
        raise typer.Exit(128 + interrupts.received if interrupts.received else GRADER_FAILED)
    console = Console()
    console.print(class_report(report.results))
    if report.kept:
        console.print(f"{report.kept} had not changed and were not graded again", highlight=False)
    console.print(f"{report.index}", markup=False, highlight=False, soft_wrap=True)
    if any(each.status is Status.UNGRADED for each in report.results.submissions):
        raise typer.Exit(GRADER_FAILED)


def _claimed(out: Path, ids: Sequence[str], force: bool) -> Ledger:
    """Return the ledger of a report folder that may be written to."""
    from bn_grading.classroom.folder import FolderError  # noqa: PLC0415 (see `grade`)
    from bn_grading.classroom.ledger import Ledger  # noqa: PLC0415

    try:
        return Ledger(out, ids, force=force)
    except FolderError as error:
        _stop(f"--out {error}")
    except OSError as error:
        _stop(f"--out {out} cannot be written: {error.strerror}")


def _known(only: Sequence[str], ids: Sequence[str]) -> None:
    """Refuse an id that no submission has."""
    for id_ in only:
        if id_ not in ids:
            near = get_close_matches(id_, ids, n=3) or ids[:3]
            more = " …" if len(ids) > len(near) else ""
            _stop(f"--only {id_}: no submission is called so, but {', '.join(near)}{more}")


def _log_to(path: Path | None, debug: bool) -> None:
    try:
        write_log(path, debug=debug)
    except OSError as error:
        _stop(f"--log {path} cannot be written: {error.strerror}")


def _level(isolation: str, allow_unisolated: bool) -> Level:
    """Return how a class is kept apart; that it is not must be allowed in so many words."""
    try:
        level = chosen_level(wanted(isolation))
    except NoSuchLevel as error:
        _stop(f"--{error}")
    if level is Level.NONE and not allow_unisolated:
        _stop(
            "nothing would keep the submissions apart from this machine, and they can do what you "
            f"can ({lacking(Level.LOCKDOWN) or 'isolation none was asked for'}); "
            "--allow-unisolated grades them all the same"
        )
    return level


_TOLD = 5
"""How many of the skipped paths are named."""


def _tell_skipped(skipped: Sequence[str]) -> None:
    """Say in one line what in the folders was taken for no submission."""
    if skipped:
        more = f" and {len(skipped) - _TOLD} more" if len(skipped) > _TOLD else ""
        listed = ", ".join(map(one_line, skipped[:_TOLD]))
        print(f"bnoracle: skipped {listed}{more}", file=sys.stderr)


def _warn_of_other_versions(out: Path, earlier: Results | None) -> None:
    """Say so when the results that are already there were made with other versions."""
    if earlier is None:
        return
    before, now = earlier.environment, environment()
    for name in ("python", "numpy", "hypothesis"):
        old, new = getattr(before, name), getattr(now, name)
        if old != new:
            print(
                f"bnoracle: warning: {out} was made with {name} {old}, this run uses {new}: "
                "keep versions the same through a term",
                file=sys.stderr,
            )


@app.command()
def check(
    path: Annotated[
        str,
        typer.Argument(metavar="PATH", help="A file, its folder, file.py:Class or package.Class."),
    ],
    course: CourseOption = "auto",
    seed: SeedOption = DEFAULT_SEED,
    examples: ExamplesOption = DEFAULT_EXAMPLES,
    case: Annotated[
        int | None, typer.Option("--case", metavar="N", help="Ask about one case alone.")
    ] = None,
    isolation: IsolationOption = "auto",
    markdown: MarkdownOption = False,
    everything: Annotated[
        bool, typer.Option("--all", help="List every property, and what follows from what.")
    ] = False,
    log: LogOption = None,
    debug: DebugOption = False,
) -> None:
    """Check one submission: what is wrong, why, the smallest example of it, what to do next."""
    chosen = _course(course)
    try:
        submission = single(path)
    except PathError as error:
        _stop(str(error))
    try:
        levels = candidates(wanted(isolation))
    except NoSuchLevel as error:
        _stop(f"--{error}")
    bank = CaseBank(seed, examples, case=case)
    if case is not None and not bank.cases(0):
        _stop(_no_case(case, seed, examples))
    _log_to(log, debug)
    plan = Plan([submission], chosen, list(built_in().values()), bank, levels=levels)
    try:
        result = plan.grade(submission)
    except KeyboardInterrupt:
        print("bnoracle: interrupted", file=sys.stderr)
        raise typer.Exit(INTERRUPTED) from None
    if case is not None:
        notes = (*result.notes, f"was asked about case {case} alone: its points say little")
        result = result.model_copy(update={"notes": notes})
    if markdown:
        from bn_reports.formats.markdown import submission_comment  # noqa: PLC0415

        print(submission_comment(result), end="")
    else:
        Console().print(submission_report(result, everything=everything))
    if result.status is Status.UNGRADED:
        raise typer.Exit(GRADER_FAILED)
    raise typer.Exit(0 if result.status is Status.CORRECT else 1)


def _no_case(case: int, seed: int, examples: int) -> str:
    numbers = sorted(each.index for each in CaseBank(seed, examples).cases(0))
    chosen = [number for number in numbers if number >= examples]
    return (
        f"--case {case}: there is no such case; drawn ones have the numbers 0 to {examples - 1}, "
        f"chosen ones {chosen[0]} to {chosen[-1]}"
    )


app.command()(report)
app.command()(compare)


@app.command()
def properties() -> None:
    """List the properties: id, sentence, equation, source."""
    Console().print(property_list(PROPERTIES))


@app.command()
def faults() -> None:
    """List the known mistakes: id, title, the wrong and the right equation."""
    from bn_diagnosis.faults import FAULTS  # noqa: PLC0415 (the whole catalogue)

    Console().print(fault_list(FAULTS))


@app.command()
def schema() -> None:
    """Print the JSON Schema of results.json."""
    print(json.dumps(json_schema(), indent=2, ensure_ascii=False))


@app.command()
def cache(
    clear: Annotated[bool, typer.Option("--clear", help="Delete what is kept.")] = False,
) -> None:
    """Show what is kept on disk of the cases, so that it is computed once; or clear it."""
    kept = Cache()
    if kept.folder is None:
        _stop(f"{FOLDER} is empty, so nothing is kept; unset it, or name a folder")
    try:
        held = kept.clear() if clear else kept.holds()
    except OSError as error:
        _stop(f"{error.filename} cannot be deleted: {error.strerror}")
    deleted = "deleted " if clear else ""
    print(f"{kept.folder}: {deleted}{held.files} files, {held.size / 2**20:.1f} MiB")


app.command()(completion)


def _version(wanted: bool) -> None:
    if wanted:
        where = environment()
        print(
            f"bnoracle {tool().version} (Python {where.python}, NumPy {where.numpy}, "
            f"Hypothesis {where.hypothesis})"
        )
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Show the versions."),
    ] = False,
) -> None:
    """Grade batch-normalization implementations against a float64 oracle."""
