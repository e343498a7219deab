"""From paths on the command line to submissions: what is graded, and under which id."""

from __future__ import annotations

import ast
import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bn_grading.courses import Course, Part


@dataclass(frozen=True)
class Submission:
    """One submission, read but not run."""

    id: str
    path: str
    """As it was named."""
    files: dict[str, str] = field(repr=False)
    """Sources by file name, relative to the submission's folder."""
    sha256: str
    module: str | None = None
    """An installed module, for a subject such as torch.nn.BatchNorm1d."""
    wanted: str | None = None
    """The class asked for as file.py:Class or package.Class."""
    problem: str | None = None
    """Why the files could not be read, if they could not."""


class PathError(ValueError):
    """A path that names no submission; the message is one line."""


_DOTTED = re.compile(r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)+$")


def collect(paths: Sequence[str]) -> list[Submission]:
    """Return the submissions under `paths`: files, and folders of submissions.

    In a folder each .py file is a submission and each subfolder that holds one is. Ids that
    collide become relative paths.

    Raises:
        PathError: a path does not exist, or a folder holds no submission.
    """
    found: list[Submission] = []
    for name in paths:
        path = Path(name)
        if path.is_dir():
            entries = sorted(
                entry
                for entry in path.iterdir()
                if not entry.name.startswith((".", "__"))
                and (entry.suffix == ".py" if entry.is_file() else any(entry.rglob("*.py")))
            )
            if not entries:
                raise PathError(f"{name} holds no .py file and no folder with one")
            found += [_read(entry) for entry in entries]
        else:
            found.append(single(name))
    return _distinct(found)


def single(name: str) -> Submission:
    """Return the one submission that `name` is: a file, its folder, file.py:Class or package.Class.

    Raises:
        PathError: there is no such file.
    """
    path = Path(name)
    if path.is_dir() or path.is_file():
        return _read(path)
    file, colon, wanted = name.rpartition(":")
    if colon and Path(file).is_file():
        if not wanted.isidentifier():
            raise PathError(f"{name}: {wanted!r} is not a class name")
        read = _read(Path(file))
        return Submission(f"{read.id}:{wanted}", name, read.files, read.sha256, wanted=wanted)
    if _DOTTED.match(name) and not name.endswith(".py"):
        module, _, wanted = name.rpartition(".")
        sha = hashlib.sha256(name.encode()).hexdigest()
        return Submission(name, name, {}, sha, module=module, wanted=wanted)
    raise PathError(f"{name} does not exist")


def _read(path: Path) -> Submission:
    """Read a file, or all .py files of a folder."""
    sources = sorted(path.rglob("*.py")) if path.is_dir() else [path]
    if path.is_dir() and not sources:
        raise PathError(f"{path} holds no .py file")
    root = path if path.is_dir() else path.parent
    files: dict[str, str] = {}
    problem: str | None = None
    digest = hashlib.sha256()
    for source in sources:
        name = source.relative_to(root).as_posix()
        try:
            content = source.read_bytes()
            digest.update(name.encode() + b"\0" + content + b"\0" if path.is_dir() else content)
            files[name] = _decode(content)
        except OSError as error:
            problem = f"{name} cannot be read: {error.strerror}"
        except UnicodeDecodeError:
            problem = f"{name} is not text in UTF-8"
    identity = path.resolve().name if path.is_dir() else path.stem
    return Submission(identity, str(path), files, digest.hexdigest(), problem=problem)


def _decode(content: bytes) -> str:
    """Decode as Python does: by byte order mark, UTF-8 else; line ends become newlines."""
    return content.decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n")


def _distinct(found: list[Submission]) -> list[Submission]:
    """Give submissions whose ids collide their paths as ids."""
    unique = {submission.path: submission for submission in found}
    by_id: dict[str, list[Submission]] = {}
    for submission in unique.values():
        by_id.setdefault(submission.id, []).append(submission)
    renamed = []
    for submission in unique.values():
        if len(by_id[submission.id]) > 1:
            path = Path(submission.path)
            new = (path.with_suffix("") if path.suffix == ".py" else path).as_posix()
            submission = Submission(**{**vars(submission), "id": new})  # noqa: PLW2901
        renamed.append(submission)
    return renamed


@dataclass(frozen=True)
class Names:
    """What a file defines and imports at its top level."""

    defined: frozenset[str]
    imported: frozenset[str]
    derived: frozenset[str] = frozenset()
    """Classes with a base other than object."""


_DEFINITION = re.compile(r"^(?:class|def)\s+(\w+)", re.MULTILINE)
_IMPORT = re.compile(r"^(?:import|from)\s+(\w+)", re.MULTILINE)


def names(source: str) -> Names:
    """Return what `source` defines and imports, without running it.

    A file that does not parse is read line by line, so that its course is still recognised.
    """
    try:
        body = ast.parse(source).body
    except (SyntaxError, ValueError):
        return Names(frozenset(_DEFINITION.findall(source)), frozenset(_IMPORT.findall(source)))
    defined: set[str] = set()
    imported: set[str] = set()
    derived: set[str] = set()
    for node in body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef):
            defined.add(node.name)
            if isinstance(node, ast.ClassDef) and any(
                not isinstance(base, ast.Name) or base.id != "object" for base in node.bases
            ):
                derived.add(node.name)
        elif isinstance(node, ast.Assign):
            defined |= {target.id for target in node.targets if isinstance(target, ast.Name)}
        elif isinstance(node, ast.Import):
            imported |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            imported.add(node.module.partition(".")[0])
    return Names(frozenset(defined), frozenset(imported), frozenset(derived))


def recognise(submission: Submission, courses: Iterable[Course]) -> Course | None:
    """Return the course that the submission's names belong to; None when there is none.

    A torch course takes classes that derive from another in files that import torch; the other
    courses take the rest. Among several, the one most of whose names are defined.
    """
    if submission.module is not None:
        return next((course for course in courses if course.runtime == "torch"), None)
    plain: set[str] = set()
    modules: set[str] = set()
    for source in submission.files.values():
        found = names(source)
        torch = found.derived if "torch" in found.imported else frozenset[str]()
        modules |= torch
        plain |= found.defined - torch
    best: tuple[int, Course] | None = None
    for course in courses:
        defined = modules if course.runtime == "torch" else plain
        wanted = {name for part in course.parts for name in part.names}
        hit = len(wanted & defined) or int(submission.wanted in defined)
        if hit and (best is None or hit > best[0]):
            best = (hit, course)
    return best[1] if best else None


def graded_file(submission: Submission, course: Course) -> str:
    """Return the name of the one file that defines the course's class or functions.

    Raises:
        PathError: none does, or several do; the message names them.
    """
    wanted = _main_names(submission, course)
    candidates = [
        name for name, source in submission.files.items() if wanted & names(source).defined
    ]
    if len(candidates) == 1:
        return candidates[0]
    listed = " or ".join(sorted(wanted))
    if not candidates:
        extra = {name for part in course.parts for name in part.names}
        others = [
            name for name, source in submission.files.items() if extra & names(source).defined
        ]
        if len(others) == 1:
            return others[0]
        raise PathError(f"it does not define {listed}")
    raise PathError(f"several files define {listed}: {', '.join(sorted(candidates))}")


def _main_names(submission: Submission, course: Course) -> set[str]:
    if submission.wanted is not None:
        return {submission.wanted}
    return {name for part in course.parts if part.group == course.main_group for name in part.names}


def parts_for(submission: Submission, course: Course) -> tuple[Part, ...]:
    """Return the course's parts; where a class was asked for by name, the part it stands for."""
    wanted = submission.wanted
    if wanted is None:
        return course.parts
    spatial = 2 if wanted.endswith("2d") else 0
    for part in course.parts:
        if part.spatial_axes == spatial and part.interface.kind != "functions":
            interface = part.interface.model_copy(update={"classes": (wanted,)})
            return (part.model_copy(update={"interface": interface}),)
    raise PathError(f"the course {course.id} has no class that {wanted} could stand for")
