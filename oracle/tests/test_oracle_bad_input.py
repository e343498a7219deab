"""Bad input is refused by name: which argument, what it was, what it should be."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any

import numpy as np
import pytest
from bn_oracle.backward import backward
from bn_oracle.conventions import TORCH
from bn_oracle.derivations import network
from bn_oracle.derivations.chains import lecture_chain, paper_chain
from bn_oracle.derivations.gradient_paths import three_routes
from bn_oracle.derivations.jacobian import times_jacobian
from bn_oracle.folding import fold_convolution, fold_linear
from bn_oracle.forward import forward
from bn_oracle.inference import fold, infer, infer_backward
from bn_oracle.population import (
    Moments,
    mean_of_means,
    merge,
    moments,
    ragged_error,
    unbiased_variance,
)
from bn_oracle.running import after, batch_variance, cumulative_decay, update, weights

Z = np.array([[0.0, 1.0], [2.0, 5.0], [4.0, 3.0]])
TWO = np.array([1.0, 2.0])
RECORD = forward(Z, TWO, TWO, 0.5)
NETWORK = network.initialise((2, 2, 2, 3), seed=0)
SEEN = network.training_pass(NETWORK, Z, "tanh", 0.5)
STATISTICS = network.initial_statistics(NETWORK, TORCH)
LABELS = [0, 1, 2]


@dataclass(frozen=True)
class Function:
    """A public function, arguments that it takes, and which of them are arrays of what shape."""

    call: Callable[..., Any]
    good: dict[str, Any]
    batches: tuple[str, ...] = ()
    """Arguments that are a batch, a table of batches or a weight: no axis may be missing."""
    features: tuple[str, ...] = ()
    """Arguments that hold one number a feature."""
    grads: tuple[str, ...] = ()
    """Arguments that have to have another one's shape exactly."""
    eps: bool = False


LAYER = {"gamma": TWO, "beta": TWO, "mean": TWO, "var": TWO, "eps": 0.5}
COUNTED = {("fold", "mean"), ("Moments", "mean"), ("ragged_error", "last_mean")}
"""Where no batch says how many features there are, these do: another argument is then blamed."""
PER_FEATURE = ("gamma", "beta", "mean", "var")
GIVEN = {"record": RECORD, "grad": Z}
KERNEL = np.ones((2, 3, 1, 1))

FUNCTIONS: dict[str, Function] = {
    "forward": Function(
        forward,
        {"z": Z, "gamma": TWO, "beta": TWO, "eps": 0.5},
        batches=("z",),
        features=("gamma", "beta"),
        eps=True,
    ),
    "backward": Function(backward, GIVEN, grads=("grad",)),
    "lecture_chain": Function(lecture_chain, GIVEN, grads=("grad",)),
    "paper_chain": Function(paper_chain, GIVEN, grads=("grad",)),
    "three_routes": Function(three_routes, GIVEN, grads=("grad",)),
    "times_jacobian": Function(times_jacobian, GIVEN, grads=("grad",)),
    "infer": Function(infer, {"z": Z, **LAYER}, batches=("z",), features=PER_FEATURE, eps=True),
    "infer_backward": Function(
        infer_backward,
        {"z": Z, "gamma": TWO, "mean": TWO, "var": TWO, "eps": 0.5, "grad": Z},
        batches=("z",),
        features=("gamma", "mean", "var"),
        grads=("grad",),
        eps=True,
    ),
    "fold": Function(fold, LAYER, features=PER_FEATURE, eps=True),
    "fold_linear": Function(
        fold_linear,
        {"weight": Z.T, "bias": TWO, **LAYER},
        batches=("weight",),
        features=("bias", *PER_FEATURE),
        eps=True,
    ),
    "fold_convolution": Function(
        fold_convolution,
        {"weight": KERNEL, "bias": TWO, **LAYER},
        batches=("weight",),
        features=("bias", *PER_FEATURE),
        eps=True,
    ),
    "update": Function(
        update,
        {
            "running_mean": TWO,
            "running_var": TWO,
            "record": RECORD,
            "decay": 0.9,
            "convention": TORCH,
        },
        features=("running_mean", "running_var"),
    ),
    "after": Function(
        after, {"start": TWO, "seen": Z, "decay": 0.9}, batches=("seen",), features=("start",)
    ),
    "moments": Function(moments, {"z": Z}, batches=("z",)),
    "Moments": Function(Moments, {"count": 3, "mean": TWO, "m2": TWO}, features=("mean", "m2")),
    "mean_of_means": Function(mean_of_means, {"means": Z}, batches=("means",)),
    "unbiased_variance": Function(
        unbiased_variance, {"variances": Z, "batch_size": 4}, batches=("variances",)
    ),
    "ragged_error": Function(
        ragged_error,
        {"full_mean": TWO, "last_mean": TWO, "sizes": (3, 4, 1)},
        features=("full_mean", "last_mean"),
    ),
    "training_pass": Function(
        network.training_pass,
        {"parameters": NETWORK, "x": Z, "activation": "tanh", "eps": 0.5},
        batches=("x",),
        eps=True,
    ),
    "predict": Function(
        network.predict,
        {
            "parameters": NETWORK,
            "statistics": STATISTICS,
            "x": Z,
            "activation": "tanh",
            "eps": 0.5,
        },
        batches=("x",),
        eps=True,
    ),
    "cross_entropy": Function(
        network.cross_entropy, {"logits": np.eye(3), "labels": LABELS}, batches=("logits",)
    ),
}


@dataclass(frozen=True)
class Bad:
    """A call that must be refused."""

    function: str
    argument: str
    value: Any
    error: type[Exception]
    was: str
    """What the message must say of the value."""

    def __str__(self) -> str:
        return f"{self.function}, {self.argument}: {self.was}"


def _holding(array: Any, value: Any, dtype: Any = np.float64) -> Any:
    result = np.array(array, dtype=dtype)
    result.flat[0] = value
    return result


def _table() -> list[Bad]:
    rows: list[Bad] = []
    for name, function in FUNCTIONS.items():
        for argument in (*function.batches, *function.features, *function.grads):
            good = np.asarray(function.good[argument])
            rows += [
                Bad(name, argument, _holding(good, np.nan), ValueError, "is nan"),
                Bad(name, argument, _holding(good, np.inf), ValueError, "is inf"),
                Bad(name, argument, _holding(good, -np.inf), ValueError, "is -inf"),
                Bad(name, argument, good.astype(object), TypeError, "dtype object"),
                Bad(name, argument, good.astype(complex), TypeError, "dtype complex128"),
                Bad(name, argument, good.astype(str), TypeError, "dtype <U32"),
            ]
        rows += [Bad(name, a, [1.0], ValueError, "shape (1,)") for a in function.batches]
        rows += [
            Bad(name, a, wrong, ValueError, f"shape {np.shape(wrong)}")
            for a in function.features
            for wrong in ([1.0, 2.0, 3.0], [[1.0, 2.0], [3.0, 4.0]])
            if np.ndim(wrong) > 1 or (name, a) not in COUNTED
        ]
        rows += [
            Bad(name, a, wrong, ValueError, f"shape {wrong.shape}")
            for a in function.grads
            for wrong in (Z[:2], Z.T, Z[:, :1], Z[:, 0], Z[None])
        ]
        if function.eps:
            rows += [
                Bad(name, "eps", -1e-300, ValueError, "is -1e-300"),
                Bad(name, "eps", np.nan, ValueError, "is nan"),
                Bad(name, "eps", np.inf, ValueError, "is inf"),
                Bad(name, "eps", "small", TypeError, "'small'"),
                Bad(name, "eps", [0.5], TypeError, "[0.5]"),
                Bad(name, "eps", 1j, TypeError, "1j"),
            ]
    negative = np.array([1.0, -0.25])
    rows += [
        Bad(n, "var", negative, ValueError, "var[1] is -0.25")
        for n in FUNCTIONS
        if n in ("infer", "infer_backward", "fold", "fold_linear", "fold_convolution")
    ]
    empty = np.zeros((0, 2))
    rows += [
        Bad(name, argument, empty, ValueError, "shape (0, 2)")
        for name, argument in (
            ("forward", "z"),
            ("infer", "z"),
            ("infer_backward", "z"),
            ("moments", "z"),
            ("mean_of_means", "means"),
            ("unbiased_variance", "variances"),
            ("training_pass", "x"),
            ("predict", "x"),
            ("cross_entropy", "logits"),
        )
    ]
    rows += [
        Bad("forward", "channel_axis", 0, ValueError, "is 0"),
        Bad("forward", "channel_axis", 2, ValueError, "is 2"),
        Bad("forward", "z", np.zeros((3, 4)), ValueError, "shape (2,)"),
        Bad("forward", "z", Z.astype("datetime64[s]"), TypeError, "datetime64"),
        Bad("forward", "z", np.ma.masked_array(Z), TypeError, "masked"),
        Bad("training_pass", "x", np.zeros((3, 4)), ValueError, "shape (3, 4)"),
        Bad("predict", "x", np.zeros((3, 4)), ValueError, "shape (3, 4)"),
        Bad("training_pass", "activation", "gelu", ValueError, "'gelu'"),
        Bad("predict", "activation", "gelu", ValueError, "'gelu'"),
        Bad("cross_entropy", "labels", [0, 1], ValueError, "shape (2,)"),
        Bad("cross_entropy", "labels", [0.0, 1.0, 2.0], TypeError, "float64"),
        Bad(
            "cross_entropy",
            "labels",
            [0, 1, 3],
            ValueError,
            "go from 0 to 3, but must be from 0 to 2",
        ),
        Bad("cross_entropy", "labels", [0, 1, -1], ValueError, "go from -1 to 1"),
        Bad("update", "decay", 1.5, ValueError, "is 1.5"),
        Bad("update", "decay", None, TypeError, "None"),
        Bad("after", "decay", -0.5, ValueError, "is -0.5"),
        Bad("Moments", "count", 0, ValueError, "is 0"),
        Bad("Moments", "count", 2.0, TypeError, "2.0"),
        Bad("Moments", "count", True, TypeError, "True"),
        Bad("Moments", "m2", negative, ValueError, "m2[1] is -0.25"),
        Bad("unbiased_variance", "batch_size", 1, ValueError, "is 1"),
        Bad("unbiased_variance", "variances", -Z, ValueError, "-5.0"),
        Bad("ragged_error", "sizes", (3, 4, 0), ValueError, "sizes[2] is 0"),
        Bad("fold_linear", "weight", KERNEL, ValueError, "shape (2, 3, 1, 1)"),
        Bad("fold_convolution", "weight", Z, ValueError, "shape (3, 2)"),
    ]
    return rows


@pytest.mark.parametrize("bad", _table(), ids=str)
def test_bad_input_is_refused_by_name(bad: Bad) -> None:
    function = FUNCTIONS[bad.function]
    with pytest.raises(bad.error) as caught:
        function.call(**{**function.good, bad.argument: bad.value})
    message = str(caught.value)
    # A z of other features is noticed at the first argument that has too few.
    blamed = {"z": ("z", "gamma", "mean")}.get(bad.argument, (bad.argument,))
    assert re.split(r"[ \[]", message)[0] in blamed
    assert bad.was in message
    assert (
        "must be" in message
        or "must have" in message
        or "must not" in message
        or ("may be empty" in message or "must name" in message)
    )


@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_good_arguments_are_taken(name: str) -> None:
    """Or the table above would prove nothing."""
    FUNCTIONS[name].call(**FUNCTIONS[name].good)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_integers_and_narrower_floats_convert(name: str) -> None:
    """To the same results: float64 holds each of them exactly."""
    function = FUNCTIONS[name]
    arrays = (*function.batches, *function.features, *function.grads)
    for dtype in (np.int64, np.uint8, np.float16, np.float32):
        good = {a: np.abs(np.asarray(function.good[a])).astype(dtype) for a in arrays}
        plain = {a: value.astype(np.float64) for a, value in good.items()}
        if name == "cross_entropy":
            good["labels"] = plain["labels"] = np.array(LABELS, dtype=np.uint8)
        converted = function.call(**{**function.good, **good})
        expected = function.call(**{**function.good, **plain})
        assert _bits(expected) == _bits(converted)


def _bits(value: Any) -> Any:
    """Every number in a result, bit for bit, with its type and shape."""
    if is_dataclass(value):
        return [_bits(getattr(value, field.name)) for field in fields(value)]
    if isinstance(value, tuple):
        return [_bits(part) for part in value]
    array = np.asarray(value)
    return array.dtype.str, array.shape, array.tobytes()


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: forward([[1.0], [1.0]], [1.0], [0.0], 0.0), "eps is 0 and feature 0"),
        (lambda: forward([[1.0, 2], [2.0, 2]], [1, 1], [0, 0], 0.0), "eps is 0 and feature 1"),
        (lambda: forward([[1.0]], [1.0], [0.0], 0), "eps is 0 and feature 0"),
        (lambda: infer([[1.0]], [1.0], [0.0], [0.0], [0.0], 0.0), "eps is 0 and a variance is 0"),
        (lambda: fold([1.0], [0.0], [0.0], [0.0], 0.0), "eps is 0 and a variance is 0"),
        (
            lambda: infer_backward([[1.0]], [1.0], [0.0], [0.0], 0.0, [[1.0]]),
            "eps is 0 and a variance is 0",
        ),
    ],
)
def test_a_zero_denominator_is_refused(call: Callable[[], Any], said: str) -> None:
    with pytest.raises(ValueError, match="must be positive") as caught:
        call()
    assert str(caught.value).startswith(said)


@pytest.mark.parametrize(
    ("call", "error", "said"),
    [
        (lambda: merge(moments(Z), moments(Z[:, :1])), ValueError, "mean has shape (1,)"),
        (lambda: moments([[1.0]]).unbiased_variance, ValueError, "count is 1"),
        (lambda: batch_variance(forward([[1.0]], [1], [0], 1), TORCH), ValueError, "the unbiased"),
        (lambda: cumulative_decay(-1), ValueError, "batches_seen is -1"),
        (lambda: cumulative_decay(1.0), TypeError, "batches_seen is 1.0"),  # type: ignore[arg-type]
        (lambda: weights(-1, 0.5), ValueError, "batches is -1"),
        (lambda: weights(3, 2.0), ValueError, "decay is 2.0"),
        (lambda: network.initialise((2, 0, 3), seed=0), ValueError, "sizes[1] is 0"),
        (lambda: network.sgd_step(NETWORK, NETWORK, -0.1), ValueError, "rate is -0.1"),
        (lambda: network.gradients(NETWORK, SEEN, [0, 1], "tanh"), ValueError, "labels has shape"),
        (lambda: network.activate("gelu", Z), ValueError, "activation is 'gelu'"),  # type: ignore[arg-type]
        (lambda: ragged_error(TWO, TWO, (0, 4, 1)), ValueError, "sizes[0] is 0"),
        (lambda: ragged_error(TWO, TWO, (3, 0, 1)), ValueError, "sizes[1] is 0"),
    ],
)
def test_other_bad_arguments_are_named(
    call: Callable[[], Any], error: type[Exception], said: str
) -> None:
    with pytest.raises(error) as caught:
        call()
    assert str(caught.value).startswith(said)


def test_a_wider_float_that_overflows_is_refused_by_name() -> None:
    wide = np.array([[np.finfo(np.longdouble).max, 0.0]])
    if float(np.finfo(np.longdouble).max) == np.finfo(np.float64).max:
        pytest.skip("long double is float64 on this platform")
    with pytest.raises(ValueError, match=r"z\[0, 0\] is inf, but must be finite"):
        moments(wide)


SHORTER = replace(NETWORK, **{name: getattr(NETWORK, name)[:-1] for name in vars(NETWORK)})
ONE_LAYER = replace(STATISTICS, means=STATISTICS.means[:-1])


@pytest.mark.parametrize(
    "call",
    [
        lambda: network.sgd_step(NETWORK, SHORTER, 0.1),
        lambda: network.training_pass(replace(NETWORK, betas=NETWORK.betas[:-1]), Z, "tanh", 0.5),
        lambda: network.update_statistics(ONE_LAYER, SEEN, 0.9, TORCH),
        lambda: network.predict(NETWORK, ONE_LAYER, Z, "tanh", 0.5),
        lambda: ragged_error(TWO, TWO, (3, 4)),  # type: ignore[arg-type]
    ],
)
def test_parts_of_different_lengths_do_not_go_together(call: Callable[[], Any]) -> None:
    with pytest.raises(ValueError, match="zip"):
        call()
