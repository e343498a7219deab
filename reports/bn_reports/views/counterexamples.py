"""A counterexample call by call, and the one place in it where the error is worst."""

from __future__ import annotations

from dataclasses import dataclass

from bn_properties.record_types import ArrayRecord
from bn_properties.records import Call, Comparison, Counterexample

from bn_reports.text.numbers import Value, apart, brief, exact
from bn_reports.text.visible import one_line
from bn_reports.views.arrays import Quantity, compared, listed


@dataclass(frozen=True)
class CallView:
    """One call, ready to be laid out."""

    title: str
    settings: tuple[tuple[str, str], ...]
    """The inputs that are no arrays: names and values."""
    inputs: tuple[Quantity, ...]
    outputs: tuple[Quantity, ...]
    intermediates: tuple[Quantity, ...]
    error: str | None

    @property
    def wrong(self) -> bool:
        """Whether something is wrong in this call."""
        return self.error is not None or any(each.wrong for each in self.outputs)


def calls(counterexample: Counterexample) -> tuple[CallView, ...]:
    """Return every call of `counterexample` in order, numbered from 1."""
    return tuple(_view(number, each) for number, each in enumerate(counterexample.calls, 1))


def worst(comparison: Comparison) -> tuple[tuple[str, str], ...]:
    """Return names and values that say where `comparison` is worst, and by how much."""
    rows = [("quantity", one_line(comparison.quantity))]
    index = comparison.worst_index
    if index is not None:
        rows.append(("worst at index", f"[{', '.join(map(str, index))}]" if index else "(scalar)"))
        mine, right = _at(comparison.got, index), _at(comparison.expected, index)
        if mine is not None and right is not None:
            texts = apart(mine, right)
            rows += [("got there", texts[0]), ("expected there", texts[1])]
        limit = _at(comparison.bound, index)
        if limit is not None:
            rows.append(("allowed error there", brief(limit, 3)))
    elif comparison.got is None:
        rows.append(("got", "nothing that can be compared"))
    rows += [
        ("absolute error", brief(comparison.absolute_error, 3)),
        ("relative error", brief(comparison.relative_error, 3)),
        ("error over bound", brief(comparison.error_over_bound, 3)),
    ]
    return tuple(rows)


def _view(number: int, call: Call) -> CallView:
    settings = [
        (name, "none" if value is None else value if isinstance(value, str) else exact(value))
        for name, value in call.inputs.items()
        if not isinstance(value, ArrayRecord)
    ]
    inputs = [
        listed(name, value) for name, value in call.inputs.items() if isinstance(value, ArrayRecord)
    ]
    outputs = [
        compared(name, call.got.get(name), call.expected.get(name), call.bound.get(name))
        for name in dict.fromkeys((*call.expected, *call.got))
    ]
    return CallView(
        title=f"{number}. {one_line(call.call)}",
        settings=tuple(settings),
        inputs=tuple(inputs),
        outputs=tuple(outputs),
        intermediates=tuple(listed(*each) for each in call.intermediates.items()),
        error=call.error,
    )


def _at(record: ArrayRecord | None, index: tuple[int, ...]) -> Value | None:
    """Return the value of `record` at `index`; None where there is none."""
    if record is None or len(record.shape) != len(index):
        return None
    if not all(0 <= place < size for place, size in zip(index, record.shape, strict=True)):
        return None
    value: Value = record.array()[index]
    return value
