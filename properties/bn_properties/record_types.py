"""What records are made of: numbers, texts and arrays in the form that JSON can hold.

Arrays are written as dtype, shape and a flat list of values that read back bit for bit; NaN and
the infinities are strings, because JSON has no such numbers.
"""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    WithJsonSchema,
    model_validator,
)

_NON_FINITE = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


def _write_number(value: float) -> float | str:
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "Infinity" if value > 0 else "-Infinity"
    return value


_NUMBER_SCHEMA = {"anyOf": [{"type": "number"}, {"enum": sorted(_NON_FINITE)}]}


def _read_number(value: Any) -> Any:
    return _NON_FINITE.get(value, value) if isinstance(value, str) else value


Number = Annotated[
    float,
    BeforeValidator(_read_number),
    PlainSerializer(_write_number, when_used="json"),
    WithJsonSchema(_NUMBER_SCHEMA, mode="serialization"),
]
"""A float; in JSON, NaN and the infinities are the strings "NaN", "Infinity", "-Infinity"."""


NonFinite = Annotated[str, Field(pattern=r"^(NaN|Infinity|-Infinity|NaN:([0-9a-f]{2})+)$")]
"""The name of a NaN or infinity; a NaN other than the ordinary one carries its bits."""


def _printable(text: str) -> str:
    """Escape lone surrogates: a submission can put them into a message, UTF-8 cannot hold them."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
"""A SHA-256."""

Text = Annotated[str, AfterValidator(_printable)]
"""Text that may come from a submission."""


class Record(BaseModel):
    """Base of every record: immutable, and refuses fields that it does not know."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=True)


class ArrayRecord(Record):
    """An array as text: dtype name, shape and row-major values that read back bit for bit."""

    dtype: Literal[
        "bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64",
        "float16", "float32", "float64",
    ]  # fmt: skip
    shape: tuple[Annotated[int, Field(ge=0)], ...]
    values: tuple[bool | int | float | NonFinite, ...]

    @model_validator(mode="after")
    def _whole(self) -> ArrayRecord:
        if len(self.values) != math.prod(self.shape):
            raise ValueError(f"{len(self.values)} values do not fill the shape {self.shape}")
        return self

    @classmethod
    def of(cls, array: NDArray[Any]) -> ArrayRecord:
        """Write `array` (bool, integer or float dtype) down."""
        flat = array.ravel()
        values: list[float | int | bool | str]
        if array.dtype.kind == "f":
            values = [
                value if math.isfinite(value) else _write_non_finite(element)
                for element, value in zip(flat, flat.astype(np.float64).tolist(), strict=True)
            ]
        else:
            values = flat.tolist()
        return cls(dtype=array.dtype.name, shape=array.shape, values=tuple(values))  # type: ignore[arg-type]

    def array(self) -> NDArray[Any]:
        """Read the array back."""
        dtype = np.dtype(self.dtype)
        result = np.empty(len(self.values), dtype)
        for index, value in enumerate(self.values):
            result[index] = _read_value(value, dtype)
        return result.reshape(self.shape)


def _write_non_finite(element: Any) -> str:
    """Name a NaN or infinity; a NaN other than the ordinary one carries its bits."""
    word = _write_number(float(element))
    if word == "NaN" and element.tobytes() != np.array(np.nan, element.dtype).tobytes():
        return f"NaN:{element.tobytes().hex()}"
    return str(word)


def _read_value(value: float | int | bool | str, dtype: np.dtype[Any]) -> Any:
    if isinstance(value, str):
        if value.startswith("NaN:"):
            return np.frombuffer(bytes.fromhex(value[4:]), dtype)[0]
        return _NON_FINITE[value]
    return value
