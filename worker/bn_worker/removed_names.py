"""Names that NumPy has removed, with their documented meaning: versions differ, it is no mistake.

Source: NumPy's 2.0 migration guide, "Main namespace", and the release notes of 1.20 and 1.24 for
the aliases of Python's own types. What NumPy still has is left as it is.
"""

from __future__ import annotations

import builtins
import math
import sys
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np


class Removed(NamedTuple):
    """What a name meant, and what to write in its place."""

    write: str
    meaning: Callable[[], Any]


def _type(name: str) -> Removed:
    return Removed(name, lambda: getattr(builtins, name))


def _now(name: str) -> Removed:
    """Return what has another name in NumPy's main namespace."""
    return Removed(f"np.{name}", lambda: getattr(np, name))


def _scalar(value: str) -> Removed:
    return Removed(value, lambda: eval(value, {"np": np}))


def _asfarray(a: Any, dtype: Any = np.float64) -> Any:
    wanted = np.dtype(dtype)
    return np.asarray(a, wanted if np.issubdtype(wanted, np.inexact) else np.float64)


def _msort(a: Any) -> Any:
    return np.sort(a, axis=0)


def _asscalar(a: Any) -> Any:
    return a.item()


def _find_common_type(array_types: Any, scalar_types: Any) -> Any:
    return np.result_type(*array_types, *scalar_types)


def _issubclass(one: Any, other: Any) -> bool:
    return isinstance(one, type) and isinstance(other, type) and issubclass(one, other)


def _in1d(ar1: Any, ar2: Any, assume_unique: bool = False, invert: bool = False) -> Any:
    return np.isin(np.ravel(ar1), ar2, assume_unique=assume_unique, invert=invert)


def _rank(a: Any) -> int:
    return np.ndim(a)


def _alen(a: Any) -> int:
    return len(np.array(a, copy=None, ndmin=1))


class _Cast:
    """`np.cast["float64"](a)`: an array of a type."""

    def __getitem__(self, dtype: Any) -> Callable[[Any], Any]:
        return lambda a: np.asarray(a, dtype)


class _ItemSizes:
    """`np.nbytes[np.float64]`: the bytes of a type."""

    def __getitem__(self, dtype: Any) -> int:
        return int(np.dtype(dtype).itemsize)


def _disp(mesg: Any, device: Any = None, linefeed: bool = True) -> None:
    (device or sys.stdout).write(f"{mesg}\n" if linefeed else f"{mesg}")


def _issctype(rep: Any) -> bool:
    return isinstance(rep, np.dtype) or _issubclass(rep, np.generic)


def _obj2sctype(rep: Any, default: Any = None) -> Any:
    try:
        return getattr(rep, "dtype", np.dtype(rep) if isinstance(rep, type | str) else rep).type
    except (AttributeError, TypeError):
        return default


def _maximum_sctype(t: Any) -> Any:
    kinds = {"i": np.int64, "u": np.uint64, "f": np.longdouble, "c": np.clongdouble}
    return kinds.get(np.dtype(t).kind, t)


def _sctypes() -> dict[str, list[Any]]:
    return {
        "int": [np.int8, np.int16, np.int32, np.int64],
        "uint": [np.uint8, np.uint16, np.uint32, np.uint64],
        "float": [np.float16, np.float32, np.float64, np.longdouble],
        "complex": [np.complex64, np.complex128, np.clongdouble],
        "others": [bool, object, bytes, str, np.void],
    }


REMOVED: Mapping[str, Removed] = {
    # Python's own types, under NumPy's name (1.24).
    **{name: _type(name) for name in ("float", "int", "bool", "complex", "object", "str")},
    "unicode": _type("str"),
    # Reductions and functions with another name (2.0).
    "product": _now("prod"),
    "cumproduct": _now("cumprod"),
    "sometrue": _now("any"),
    "alltrue": _now("all"),
    "round_": _now("round"),
    "row_stack": _now("vstack"),
    "trapz": _now("trapezoid"),
    "mat": _now("asmatrix"),
    "in1d": Removed("np.isin", lambda: _in1d),
    "asfarray": Removed("np.asarray with a float dtype", lambda: _asfarray),
    "msort": Removed("np.sort(a, axis=0)", lambda: _msort),
    "asscalar": Removed("a.item()", lambda: _asscalar),
    "find_common_type": Removed("np.result_type", lambda: _find_common_type),
    "issubclass_": Removed("issubclass", lambda: _issubclass),
    "issubsctype": _now("issubdtype"),
    "rank": Removed("np.ndim", lambda: _rank),
    "alen": Removed("len", lambda: _alen),
    "math": Removed("import math", lambda: math),
    "cast": Removed("np.asarray(a, dtype)", _Cast),
    "nbytes": Removed("np.dtype(…).itemsize", _ItemSizes),
    "disp": Removed("print", lambda: _disp),
    "issctype": Removed("issubclass(…, np.generic)", lambda: _issctype),
    "obj2sctype": Removed("np.dtype(…).type", lambda: _obj2sctype),
    "maximum_sctype": Removed("a type's own name, such as np.longdouble", lambda: _maximum_sctype),
    "sctypes": Removed("the types' own names", _sctypes),
    # Numbers.
    **{name: _scalar("np.inf") for name in ("Inf", "Infinity", "infty", "PINF")},
    "NaN": _scalar("np.nan"),
    "NINF": _scalar("-np.inf"),
    "NZERO": _scalar("-0.0"),
    "PZERO": _scalar("0.0"),
    # Types with another name.
    "float_": _now("float64"),
    "complex_": _now("complex128"),
    "cfloat": _now("complex128"),
    "singlecomplex": _now("complex64"),
    "longfloat": _now("longdouble"),
    **{name: _now("clongdouble") for name in ("longcomplex", "clongfloat")},
    "string_": _now("bytes_"),
    "unicode_": _now("str_"),
    "bool8": _now("bool_"),
    "int0": _now("intp"),
    "uint0": _now("uintp"),
    "object0": _now("object_"),
    "str0": _now("str_"),
    "bytes0": _now("bytes_"),
    "void0": _now("void"),
}
"""Each name that can be supplied; all others raise NumPy's own AttributeError."""


def supply() -> None:
    """Let NumPy answer for the names that it has removed, where it does not itself."""
    own: Any = np.__dict__.get("__getattr__")

    def answer(name: str) -> Any:
        removed = REMOVED.get(name)
        if removed is not None:
            return removed.meaning()
        if own is None:
            raise AttributeError(f"module 'numpy' has no attribute {name!r}")
        return own(name)

    setattr(np, "__getattr__", answer)  # noqa: B010 (mypy knows it as a function of the module)
