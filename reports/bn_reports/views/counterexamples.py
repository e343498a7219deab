"""A counterexample call by call, and the one place in it where the error is worst."""

from __future__ import annotations

from dataclasses import dataclass

from bn_properties.record_types import ArrayRecord
from bn_properties.records import Call, Comparison, Counterexample

from bn_reports.text.numbers import Value, apart, brief, exact, ratio
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
    def vectors(self) -> tuple[Quantity, ...]:
        """The inputs that are vectors of one shape, where there are several."""
        flat = [each for each in self.inputs if each.flat and each.blocks]
        alike = tuple(each for each in flat if each.kind == flat[0].kind)
        return alike if len(alike) > 1 else ()

    @property
    def wrong(self) -> bool:
        """Whether something is wrong in this call."""
        return self.error is not None or any(each.wrong for each in self.outputs)


def calls(counterexample: Counterexample) -> tuple[CallView, ...]:
    """Return every call of `counterexample` in order, numbered from 1."""
    shown = strictly(counterexample).calls
    return tuple(_view(number, each) for number, each in enumerate(shown, 1))


CONSTRUCT = "construct"
_TINY = 1e-300
"""A bound below this is there for underflow alone."""


def strictly(example: Counterexample) -> Counterexample:
    """Return `example` with what was compared held to the bound that it was compared by.

    A call's own bounds are the widest; a property may ask for more accuracy.
    """
    comparison = example.comparison
    if comparison is None or comparison.bound is None:
        return example
    bound, compared = comparison.bound, (comparison.got, comparison.expected)
    calls = tuple(
        call.model_copy(
            update={
                "bound": {
                    name: bound if (call.got.get(name), call.expected.get(name)) == compared else b
                    for name, b in call.bound.items()
                }
            }
        )
        for call in example.calls
    )
    return example.model_copy(update={"calls": calls})


def leading(example: Counterexample) -> range:
    """Return which calls lead to the failure: those of one layer, up to the call that is wrong.

    That is the call that gave what was compared; else the last one in which anything is wrong.
    """
    shown = calls(example)
    wrong = [number for number, call in enumerate(shown) if call.wrong]
    if not wrong:
        return range(len(shown))
    measured = example.comparison
    compared = (n for n in wrong if measured and measured.expected in _values(example.calls[n]))
    last = next(compared, wrong[-1])
    begins = [n for n in range(last + 1) if example.calls[n].call == CONSTRUCT]
    return range(begins[-1] if begins else 0, last + 1)


def _values(call: Call) -> list[ArrayRecord]:
    return [call.expected[name] for name in call.expected if name in call.got]


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
            rows.append(("allowed error there", brief(limit, 3) if limit > _TINY else "none"))
    elif comparison.got is None:
        rows.append(("got", "nothing that can be compared"))
    rows += [
        ("absolute error", brief(comparison.absolute_error, 3)),
        ("relative error", brief(comparison.relative_error, 3)),
        ("error over bound", _times(comparison)),
    ]
    return tuple(rows)


def _times(comparison: Comparison) -> str:
    """Return how many times the bound the error is."""
    return "no bound" if comparison.bound is None else ratio(comparison.error_over_bound)


def _view(number: int, call: Call) -> CallView:
    settings = [
        (name, "none" if value is None else value if isinstance(value, str) else exact(value))
        for name, value in call.inputs.items()
        if not isinstance(value, ArrayRecord)
    ]
    outputs = [
        compared(name, call.got.get(name), call.expected.get(name), call.bound.get(name))
        for name in dict.fromkeys((*call.expected, *call.got))
    ]
    focus = next((each.worst for each in outputs if each.worst is not None), None)
    inputs = [
        listed(name, value, focus)
        for name, value in call.inputs.items()
        if isinstance(value, ArrayRecord)
    ]
    return CallView(
        title=f"{number}. {one_line(call.call)}",
        settings=tuple(settings),
        inputs=tuple(inputs),
        outputs=tuple(outputs),
        intermediates=tuple(listed(*each, focus) for each in call.intermediates.items()),
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
