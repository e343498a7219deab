"""Forward and backward of the oracle against torch in float64, on one thread.

    pytest oracle/benchmarks/bench_oracle.py --benchmark-group-by=param:shape

The default test run does not collect this file. `docs/benchmarks.md` records what it measured.
"""

from __future__ import annotations

import time
import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from bn_oracle.backward import backward
from bn_oracle.forward import forward

torch = pytest.importorskip("torch")

AT_MOST = {(8, 4): 1.0, (64, 32): 1.5, (512, 256): 4.0, (4096, 1024): 4.0}
"""The oracle's time over torch's. Calls dominate at 8×4, arithmetic and memory from 512×256 on."""
SHAPES = tuple(AT_MOST)
EPS = 1e-5


def inputs(shape: tuple[int, int]) -> list[Any]:
    """Return z, γ, β and G."""
    random = np.random.default_rng(0)
    return [random.normal(size=size) for size in (shape, shape[1], shape[1], shape)]


def oracle_pass(shape: tuple[int, int]) -> Callable[[], Any]:
    """Return the oracle's forward and backward pass."""
    z, gamma, beta, grad = inputs(shape)
    return lambda: backward(forward(z, gamma, beta, EPS), grad)


def torch_pass(shape: tuple[int, int]) -> Callable[[], Any]:
    """Return torch's forward and backward pass."""
    z, gamma, beta, grad = (torch.from_numpy(array) for array in inputs(shape))
    leaves = [tensor.requires_grad_() for tensor in (z, gamma, beta)]

    def run() -> Any:
        out = torch.nn.functional.batch_norm(z, None, None, gamma, beta, True, 0.1, EPS)
        return torch.autograd.grad(out, leaves, grad)

    return run


PASSES = {"oracle": oracle_pass, "torch": torch_pass}


@pytest.fixture(autouse=True)
def _one_thread() -> Any:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("name", PASSES)
@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: f"{shape[0]}x{shape[1]}")
def test_forward_and_backward(benchmark: Any, shape: tuple[int, int], name: str) -> None:
    """Time one pass."""
    benchmark(PASSES[name](shape))


def seconds(run: Callable[[], Any], count: int) -> float:
    """Return the time of one call, of `count`."""
    start = time.perf_counter()
    for _ in range(count):
        run()
    return (time.perf_counter() - start) / count


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: f"{shape[0]}x{shape[1]}")
def test_the_oracle_is_fast_enough_beside_torch(
    shape: tuple[int, int], record_property: Callable[[str, object], None]
) -> None:
    """Faster than torch when small, at most four times its time when large: a median of turns."""
    own, other = oracle_pass(shape), torch_pass(shape)
    count = max(1, 2**16 // (shape[0] * shape[1]) // 4)
    seconds(own, count), seconds(other, count)
    ratios = [seconds(own, count) / seconds(other, count) for _ in range(15)]
    ratio = float(np.median(ratios))
    record_property("ratio", ratio)
    print(f"\n{shape[0]}x{shape[1]}: {ratio:.2f} times torch")
    assert ratio <= AT_MOST[shape]


@pytest.mark.parametrize("shape", SHAPES[1:], ids=lambda shape: f"{shape[0]}x{shape[1]}")
def test_peak_memory_is_a_small_multiple_of_the_input(shape: tuple[int, int]) -> None:
    """What a pass allocates at its peak, results included; z and G are not counted."""
    run = oracle_pass(shape)
    run()
    tracemalloc.start()
    kept = run()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    del kept
    multiple = peak / (8 * shape[0] * shape[1])
    print(f"\n{shape[0]}x{shape[1]}: {multiple:.1f} times the input")
    assert multiple <= 10
