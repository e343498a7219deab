"""From paths on the command line to submissions: what is graded, and under which id."""

from __future__ import annotations

import ast
import hashlib
import io
import re
import stat
import tokenize
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from pathlib import Path

from bn_grading.courses.model import Course, Part


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
    seen: set[Path] = set()
    for name in paths:
        path = Path(name)
        if not path.is_dir():
            entries = [path]
        else:
            entries = sorted(
                entry
                for entry in path.iterdir()
                if not entry.name.startswith((".", "__"))
                and (_sources(entry) if entry.is_dir() else entry.suffix == ".py")
            )
            if not entries:
                raise PathError(f"{name} holds no .py file and no folder with one")
        for entry in entries:
            if entry.exists() and entry.resolve() in seen:
                continue
            seen.add(entry.resolve())
            found.append(_read(entry) if path.is_dir() else single(name))
    return _distinct(found)


def single(name: str) -> Submission:
    """Return the one submission that `name` is: a file, its folder, file.py:Class or package.Class.

    Raises:
        PathError: there is no such file, or no such module.
    """
    path = Path(name)
    if path.is_file() and path.suffix != ".py":
        raise PathError(f"{name} is not a .py file")
    if path.is_dir() or path.exists():
        return _read(path)
    file, colon, wanted = name.rpartition(":")
    if colon and Path(file).is_file():
        if not wanted.isidentifier():
            raise PathError(f"{name}: {wanted!r} is not a class name")
        read = _read(Path(file))
        return Submission(f"{read.id}:{wanted}", name, read.files, read.sha256, wanted=wanted)
    if _DOTTED.match(name) and not name.endswith(".py"):
        module, _, wanted = name.rpartition(".")
        top = module.partition(".")[0]
        if top != "torch" and find_spec(top) is None:  # torch has an extra, and its own sentence
            raise PathError(f"{name}: there is no such file, and no module {top} to import")
        sha = hashlib.sha256(name.encode()).hexdigest()
        return Submission(name, name, {}, sha, module=module, wanted=wanted)
    raise PathError(f"{name} does not exist")


def _sources(folder: Path) -> list[Path]:
    """Return a folder's .py files, without hidden ones and what archives and tools leave behind."""
    return sorted(
        path
        for path in folder.rglob("*.py")
        if not any(
            part.startswith(".") or (part.startswith("__") and part != "__init__.py")
            for part in path.relative_to(folder).parts
        )
        and not path.is_dir()
    )


def _read(path: Path) -> Submission:
    """Read a file, or all .py files of a folder."""
    sources = _sources(path) if path.is_dir() else [path]
    if not sources:
        raise PathError(f"{path} holds no .py file")
    root = path if path.is_dir() else path.parent
    files: dict[str, str] = {}
    problems: list[str] = []
    digest = hashlib.sha256()
    for source in sources:
        name = _text(source.relative_to(root).as_posix())
        try:
            content = _content(source, root)
            digest.update(name.encode() + b"\0" + content + b"\0" if path.is_dir() else content)
            files[name] = _decode(content)
        except OSError as error:
            problems.append(f"{name} cannot be read: {error.strerror or error}")
        except (UnicodeDecodeError, SyntaxError, LookupError):
            problems.append(f"{name} is not text in UTF-8 or in the encoding that it declares")
    identity = path.resolve().name if path.is_dir() else path.stem
    # A file that cannot be read matters only where nothing else can be graded.
    problem = problems[0] if problems and not files else None
    return Submission(_text(identity), _text(str(path)), files, digest.hexdigest(), problem=problem)


MAX_SOURCE = 1 << 20
"""Bytes: a larger file is no student's."""


def _content(path: Path, root: Path) -> bytes:
    """Read a regular file inside `root`.

    Raises:
        OSError: it is a pipe, a device, too large, or a link that leads out of the submission.
    """
    if not stat.S_ISREG(path.stat().st_mode):
        raise OSError("it is not a regular file")
    if path.is_symlink() and not path.resolve().is_relative_to(root.resolve()):
        raise OSError("it is a link that leads out of the submission")
    if path.stat().st_size > MAX_SOURCE:
        raise OSError(f"it is larger than {MAX_SOURCE} bytes")
    return path.read_bytes()


def _text(name: str) -> str:
    """Escape what is not UTF-8 in a file's name, so that it can be written down."""
    return name.encode("utf-8", "backslashreplace" if _lone(name) else "strict").decode("utf-8")


def _lone(name: str) -> bool:
    return any("\ud800" <= letter <= "\udfff" for letter in name)


def _decode(content: bytes) -> str:
    """Decode as Python does: by byte order mark or declaration, UTF-8 else."""
    encoding, _ = tokenize.detect_encoding(io.BytesIO(content).readline)
    text = content.decode(encoding)
    # The text is compiled from a string, in which a declaration would be out of place.
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _distinct(found: list[Submission]) -> list[Submission]:
    """Give submissions whose ids collide their paths as ids."""
    counts = Counter(submission.id for submission in found)
    taken: set[str] = set()
    renamed = []
    for submission in found:
        new = submission.id
        if counts[new] > 1:
            path = Path(submission.path).as_posix()
            bare = path.removesuffix(".py")
            rivals = [Path(other.path).as_posix().removesuffix(".py") for other in found]
            new = path if rivals.count(bare) > 1 else bare
        while new in taken:
            new += "~"
        taken.add(new)
        renamed.append(replace(submission, id=new))
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
        body = list(_statements(ast.parse(source).body))
    except (SyntaxError, ValueError, MemoryError, RecursionError):
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


def _statements(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """Return the statements of a module, also those under if, try and with."""
    for node in body:
        yield node
        for inner in ("body", "orelse", "finalbody"):
            if isinstance(node, ast.If | ast.Try | ast.With):
                yield from _statements(getattr(node, inner, []))


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
    spatial = {"2d": 2, "3d": 3}.get(wanted[-2:], 0)
    for part in course.parts:
        if part.spatial_axes == spatial and part.interface.kind != "functions":
            interface = part.interface.model_copy(update={"classes": (wanted,)})
            return (part.model_copy(update={"interface": interface}),)
    raise PathError(f"the course {course.id} has no class that {wanted} could stand for")
