"""From paths on the command line to submissions, and what was left out on the way."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path

from bn_grading.intake.submission import PathError, Submission, read, sources

_DOTTED = re.compile(r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)+$")


@dataclass(frozen=True)
class Collected:
    """What was found under the paths."""

    submissions: tuple[Submission, ...]
    skipped: tuple[str, ...]
    """What lies in the folders and is no submission: each path, and why."""


def collect(paths: Sequence[str]) -> Collected:
    """Return the submissions under `paths`: files, and folders of submissions.

    In a folder each .py file is a submission and each subfolder that holds one is. Ids that
    collide become relative paths.

    Raises:
        PathError: a path does not exist, or a folder holds no submission.
    """
    found: list[Submission] = []
    skipped: list[str] = []
    seen: set[Path] = set()
    for name in paths:
        path = _path(name)
        entries = [path]
        if path.is_dir():
            reasons = {entry: _no_submission(entry) for entry in _entries(path)}
            skipped += [f"{entry} ({reason})" for entry, reason in reasons.items() if reason]
            entries = [entry for entry, reason in reasons.items() if reason is None]
            if not entries:
                links = any(entry.is_symlink() for entry in reasons)
                but = ", but links, which are not followed" if links else ""
                raise PathError(f"{name} holds no .py file and no folder with one{but}")
        for entry in entries:
            if entry.exists() and entry.resolve() in seen:
                continue
            seen.add(entry.resolve())
            found.append(read(entry) if path.is_dir() else single(name))
    return Collected(tuple(_distinct(found)), tuple(skipped))


def _path(name: str) -> Path:
    """Return what a name on the command line names, which may not be there.

    Raises:
        PathError: it can name nothing.
    """
    if not name:
        raise PathError("a path is empty, but must name a file, a folder or package.Class")
    path = Path(name)
    try:
        path.exists()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise PathError(f"{name[:80]}{'…' * (len(name) > 80)}: {reason}") from None
    return path


def _entries(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError as error:
        raise PathError(f"{folder}: {error.strerror}") from None


def _no_submission(entry: Path) -> str | None:
    """Return why an entry of a folder is no submission; None where it is one.

    What is hidden, and what tools leave behind, is not worth a word: the reason is empty.
    """
    if entry.name.startswith((".", "__")):
        return ""
    if entry.is_symlink():
        return "a link"
    if entry.is_dir():
        return None if sources(entry) else "a folder without a .py file"
    return None if entry.suffix == ".py" else "not a .py file"


def single(name: str) -> Submission:
    """Return the one submission that `name` is: a file, its folder, file.py:Class or package.Class.

    Raises:
        PathError: there is no such file, or no such module.
    """
    path = _path(name)
    if path.is_file() and path.suffix != ".py":
        raise PathError(f"{name} is not a .py file")
    if path.is_dir() or path.exists():
        return read(path)
    file, colon, wanted = name.rpartition(":")
    if colon and Path(file).is_file():
        if not wanted.isidentifier():
            raise PathError(f"{name}: {wanted!r} is not a class name")
        whole = read(Path(file))
        return replace(whole, id=f"{whole.id}:{wanted}", path=name, wanted=wanted)
    if _DOTTED.match(name) and not name.endswith(".py"):
        module, _, wanted = name.rpartition(".")
        top = module.partition(".")[0]
        if top != "torch" and find_spec(top) is None:  # torch has an extra, and its own sentence
            raise PathError(f"{name}: there is no such file, and no module {top} to import")
        sha = hashlib.sha256(name.encode()).hexdigest()
        return Submission(name, name, {}, sha, module=module, wanted=wanted)
    raise PathError(f"{name} does not exist")


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
