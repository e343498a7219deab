"""Load a submission from its source, with stand-ins for what it imports and lacks.

Student files come out of a package (`from cs231n.x import y`, `from .layer_utils import *`,
`import matplotlib`). A stand-in is made for a module only if the submission names it and it
cannot be found; nothing else is invented.
"""

from __future__ import annotations

import ast
import contextlib
import linecache
import re
import sys
import types
from collections.abc import Mapping, Sequence
from importlib.machinery import ModuleSpec
from typing import Any

from bn_worker import removed_methods, removed_names

PACKAGE = "submission"
_PRIVATE = (
    "bn_oracle",
    "bn_properties",
    "bn_diagnosis",
    "bn_reports",
    "bn_grading",
    "bn_evidence",
    "hypothesis",
)
_TORCH = ("torch", "torchvision")
_PYTHON_2 = re.compile(
    r"^[ \t]*(print\s+[^\s(=]|exec\s+['\"]|raise\s+\w+\s*,|except\s+\w+\s*,\s*\w+\s*:)",
    re.MULTILINE,
)


class LoadError(Exception):
    """The submission cannot be loaded; the message says why, in a sentence."""


taken: dict[str, str] = {}
"""What was taken from modules that are not there, and from which."""


def _anything(name: str) -> type[_Missing]:
    """Return what stands for a name of a module that is not there."""
    if name.startswith("__"):
        raise AttributeError(name)
    return type(name, (_Missing,), {})


class _Settings:
    """Takes settings by key, and stands in a with statement, to no effect."""

    __iter__ = None
    """What takes any key would else be gone through without an end."""

    def __getitem__(self, key: object) -> type[_Missing]:
        return _Missing

    def __setitem__(self, key: object, value: object) -> None: ...

    def __delitem__(self, key: object) -> None: ...

    def __contains__(self, key: object) -> bool:
        return False

    def __enter__(self) -> object:
        return self

    def __exit__(self, *raised: object) -> None: ...


class _Named(_Settings, type):
    """A class of which any name can be asked."""

    def __getattr__(cls, name: str) -> type[_Missing]:
        return _anything(name)

    def __call__(cls, *args: Any, **keywords: Any) -> Any:
        """Leave what it decorates as it is, or make an object, which decorates."""
        return _decorated(args, keywords) or super().__call__(*args, **keywords)


def _decorated(args: tuple[Any, ...], keywords: Mapping[str, Any]) -> Any:
    """Return the one function or class that something was called with, as decorators are."""
    alone = len(args) == 1 and not keywords and isinstance(args[0], types.FunctionType | type)
    return args[0] if alone else None


class _Missing(_Settings, metaclass=_Named):
    """Stands for anything taken from a module that is not there."""

    def __init__(self, *args: object, **keywords: object) -> None:
        """Accept anything: a decorator's or a constructor's arguments."""

    def __call__(self, *args: Any, **keywords: Any) -> Any:
        return _decorated(args, keywords) or self

    def __getattr__(self, name: str) -> type[_Missing]:
        return _anything(name)


class _StandIn(types.ModuleType):
    """A module that is not there."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.__path__: list[str] = []
        self.__all__: list[str] = []
        self.__version__ = "0"

    def __getattr__(self, name: str) -> type[_Missing]:
        if name.startswith("__"):
            raise AttributeError(name)
        taken[name] = self.__name__
        return type(name, (_Missing,), {})


def _show(source: str, filename: str) -> None:
    """Let `inspect` find the source, as it does for a file: TorchScript compiles from it."""
    linecache.cache[filename] = (len(source), None, source.splitlines(keepends=True), filename)


class _Finder:
    """Finds the submission's other files, and last of all stand-ins for what it lacks."""

    def __init__(self, sources: dict[str, str], named: frozenset[str]) -> None:
        self._sources = sources
        self._named = named

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: types.ModuleType | None = None
    ) -> ModuleSpec | None:
        """Answer for the submission's own files and for modules that it names."""
        root = fullname.partition(".")[0]
        if root == PACKAGE or root in self._named or self._own(fullname) is not None:
            return _spec(fullname, self)
        return None

    def _own(self, fullname: str) -> str | None:
        return self._sources.get(fullname.rpartition(".")[2])

    def create_module(self, spec: ModuleSpec) -> types.ModuleType | None:
        """Make the module, empty or a stand-in."""
        if self._own(spec.name) is not None:
            return None
        return _StandIn(spec.name)

    def exec_module(self, module: types.ModuleType) -> None:
        """Run the file, if it is one of the submission's."""
        source = self._own(module.__name__)
        if source is not None:
            filename = f"{module.__name__}.py"
            _show(source, filename)
            _run(ast.parse(source, filename), source, filename, module)


def _spec(fullname: str, finder: _Finder) -> ModuleSpec:
    """Return what tells Python that `finder` has a module."""
    loader: Any = finder  # to derive it from importlib.abc would take a tenth of a start
    return ModuleSpec(fullname, loader)


class _Without:
    """A finder that does not find some packages: the grader's own are out of reach here."""

    def __init__(self, finder: Any, hidden: tuple[str, ...]) -> None:
        self._finder, self._hidden = finder, hidden

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: types.ModuleType | None = None
    ) -> ModuleSpec | None:
        """Find what is not hidden."""
        if fullname.partition(".")[0] in self._hidden:
            return None
        found: ModuleSpec | None = self._finder.find_spec(fullname, path, target)
        return found

    def __getattr__(self, name: str) -> Any:
        return getattr(self._finder, name)


class _InFront:
    """Puts stand-ins where something is not to be imported, though it is there: torch, without need
    (it takes seconds and 200 MB), and what needs a package that is not installed.
    """

    def __init__(self, finder: _Finder, names: set[str]) -> None:
        self._finder, self.names = finder, names

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: types.ModuleType | None = None
    ) -> ModuleSpec | None:
        """Answer for the modules of these names, and what is within them."""
        within = (fullname == name or fullname.startswith(f"{name}.") for name in self.names)
        return _spec(fullname, self._finder) if any(within) else None


def load(source: str, filename: str, others: dict[str, str], framework: str) -> dict[str, Any]:
    """Run the submission's file and return its names.

    Args:
        source: the file's text.
        filename: how tracebacks call it.
        others: the other files of its folder, by module name.
        framework: what the course uses beside NumPy, such as `torch`; empty for nothing.

    Raises:
        LoadError: a syntax error or an exception while it runs.
    """
    tree = parse(source, filename)
    named, guarded = imports(tree, *others.values())
    finder = _Finder(others, named.difference(_PRIVATE))
    hidden: tuple[str, ...] = _PRIVATE
    in_front = _InFront(finder, set())
    if framework != "torch":
        # Where the file can do without, it does; else a stand-in.
        if guarded.intersection(_TORCH):
            hidden += _TORCH
        else:
            in_front.names.update(_TORCH)
    sys.meta_path[:] = [in_front, *(_Without(each, hidden) for each in sys.meta_path)]
    sys.meta_path.append(finder)
    removed_names.supply()
    module = types.ModuleType(f"{PACKAGE}.{filename.removesuffix('.py')}")
    module.__file__ = filename
    module.__package__ = PACKAGE
    sys.modules[module.__name__] = module
    _show(source, filename)
    try:
        while True:
            try:
                _run(tree, source, filename, module)
                break
            except ImportError as error:
                lacking = _imported(tree, error, filename) - in_front.names
                if not lacking or not named.issuperset(name.partition(".")[0] for name in lacking):
                    raise
                in_front.names |= lacking
    except SystemExit as error:
        raise LoadError(f"it calls sys.exit({error.code!r}) when it is imported") from error
    except BaseException as error:
        raise LoadError(f"it raises when it is imported: {explain(error, filename)}") from error
    return module.__dict__


def _imported(tree: ast.Module, error: ImportError, filename: str) -> set[str]:
    """Return the modules that a file's own statement names, in which an import failed: the package
    is there, and needs another one that is not.
    """
    line, found = _line(error, filename), set[str]()
    for node in ast.walk(tree):
        if line is not None and getattr(node, "lineno", None) == line:
            if isinstance(node, ast.Import):
                found |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                found.add(node.module)
    return {name for name in found if "." in name}


def _run(tree: ast.Module, source: str, filename: str, module: types.ModuleType) -> None:
    """Run a file in a module, with what NumPy has taken from its arrays."""
    module.__dict__[removed_methods.HELPER] = removed_methods.method
    exec(compile(removed_methods.asking(tree, source), filename, "exec"), module.__dict__)


def parse(source: str, filename: str) -> ast.Module:
    """Return a file's syntax tree.

    Raises:
        LoadError: it is no Python; why.
    """
    try:
        return ast.parse(source, filename)
    except (SyntaxError, ValueError) as error:
        raise LoadError(_syntax(source, error)) from error
    except (MemoryError, RecursionError) as error:
        raise LoadError("it is nested too deeply to be parsed") from error


def imports(tree: ast.Module, *others: str) -> tuple[frozenset[str], frozenset[str]]:
    """Return the modules that a file cannot do without, and those that it imports if it can; of the
    `others` beside it, too, as far as they can be read.

    The second are imported where an exception is expected: in a `try` that goes on after an
    ImportError, under `contextlib.suppress`, or where `find_spec` has found them.
    """
    found: dict[bool, set[str]] = {False: set(), True: set()}

    def visit(node: ast.AST, guarded: bool) -> None:
        if isinstance(node, ast.Import):
            found[guarded].update(alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found[guarded].add(node.module.partition(".")[0])
        tried: list[ast.stmt] = []
        if _goes_on_without(node):
            tried = node.body  # type: ignore[attr-defined]
        for child in ast.iter_child_nodes(node):
            visit(child, guarded or child in tried)

    visit(tree, False)
    for text in others:
        with contextlib.suppress(SyntaxError, ValueError):
            visit(ast.parse(text), False)
    foreign = [names - set(sys.stdlib_module_names) for names in (found[False], found[True])]
    return frozenset(foreign[0]), frozenset(foreign[1] - foreign[0])


_FOREGONE = {"ImportError", "ModuleNotFoundError", "Exception", "BaseException"}


def _goes_on_without(node: ast.AST) -> bool:
    """Whether what stands in a statement's body may fail to be imported."""
    if isinstance(node, ast.Try):
        caught = [handler.type for handler in node.handlers]
        return any(each is None or _FOREGONE & _names(each) for each in caught)
    if isinstance(node, ast.With):
        tests = [item.context_expr for item in node.items]
        return any({"suppress"} & _names(each) and _FOREGONE & _names(each) for each in tests)
    return isinstance(node, ast.If) and "find_spec" in _names(node.test)


def _names(node: ast.AST) -> set[str]:
    """Return every name in an expression, attributes too."""
    each = list(ast.walk(node))
    return {n.id for n in each if isinstance(n, ast.Name)} | {
        n.attr for n in each if isinstance(n, ast.Attribute)
    }


def _syntax(source: str, error: SyntaxError | ValueError) -> str:
    old = _PYTHON_2.search(source)
    if old is not None:
        line = source.count("\n", 0, old.start(1)) + 1
        return f"it is written in Python 2 (line {line}: {old[0].strip()} …), and needs Python 3"
    if isinstance(error, SyntaxError) and error.lineno is not None:
        return f"it has a syntax error in line {error.lineno}: {error.msg}"
    return f"it cannot be parsed: {error}"


_WORD = re.compile(r"\w+")
MAX_MESSAGE = 300
"""Characters: what is kept of an exception's message."""


def _line(error: BaseException, filename: str) -> int | None:
    """Return the last line of a file that an exception went through."""
    line, trace = None, error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == filename:
            line = trace.tb_lineno
        trace = trace.tb_next
    return line


_REMOVED = "NumPy 2 removed this name: a difference of versions, not of batch norm"
_VERSIONS = {
    "NumPy 2": _REMOVED,
    "module 'numpy' has no attribute": _REMOVED,
    "not None as shape": "None was () for older NumPy: write (); a difference of versions",
    "only 0-dimensional arrays can be converted": "older NumPy took an array of one number for a "
    "number: write a.item(); a difference of versions",
    "Unable to avoid copy": "older NumPy copied all the same: write np.asarray(…); a difference of "
    "versions",
    "module 'time' has no attribute 'clock'": "Python 3.8 removed it: write time.perf_counter; a "
    "difference of versions",
    "from 'collections'": "Python 3.10 removed it there: write from collections.abc import …; a "
    "difference of versions",
    "np.sum(generator)": "older NumPy summed it: write sum(…); a difference of versions",
}
"""What is said beside messages that are about another version of NumPy, or of Python."""


def explain(error: BaseException, filename: str) -> str:
    """Describe an exception in one line: where in the submission, and what."""
    line = _line(error, filename)
    try:
        message, cause = str(error), str(error.__cause__)
    except Exception:
        message, cause = "(its message cannot be printed)", ""
    message = message if len(message) <= MAX_MESSAGE else f"{message[:MAX_MESSAGE]} …"
    name = type(error).__name__[:100]
    text = f"{name}: {message}" if message else name
    hints = dict.fromkeys(
        hint for part, hint in _VERSIONS.items() if part in message or part in cause
    )
    text += "".join(f" [{hint}]" for hint in hints)
    missing = sorted({taken[word] for word in _WORD.findall(message) if word in taken})
    if missing:
        text += f" [{', '.join(missing)} is not installed here: nothing stands for it]"
    return f"line {line}: {text}" if line is not None else text
