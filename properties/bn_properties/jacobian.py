"""The Jacobian of a small batch's outputs by its inputs, asked for row by row."""

from __future__ import annotations

import numpy as np

from bn_properties.calls import Train
from bn_properties.checking import Failing
from bn_properties.protocol import AnyArray, SubjectError
from bn_properties.record_types import ArrayRecord
from bn_properties.records import Jacobian
from bn_properties.scenario import Scenario
from bn_properties.transcript import Oracle, Transcript

MOST = 6
"""Instances, up to which it is asked for: more is not read by anybody."""
INSTANCES = (-1.0, 0.0, 2.0)
"""What is taken where a failing case has one instance."""


def jacobian(failing: Failing, transcript: Transcript, oracle: Oracle) -> Jacobian | None:
    """Return ∂ẑᵢ/∂zⱼ of one feature on a failing case, or None.

    Row i is the input gradient of the i-th unit gradient. The feature is the one in which the
    failure is worst. One instance has nothing to depend on but itself: three are taken then. None
    where the batch has more than (N, C) axes, or many instances, or where the subject does not give
    a row.
    """
    asked = (call for each in failing.asked for call in each.calls[:1] if isinstance(call, Train))
    first = next((call for call in asked if call.grad is not None), None)
    if first is None or first.x.ndim != 2 or len(first.x) > MOST:
        return None
    x = first.x
    if len(x) < 2:
        x = np.tile(np.array(INSTANCES, x.dtype)[:, None], (1, x.shape[1]))
    index = None if failing.judgement is None else failing.judgement.index
    feature = index[1] if index is not None and len(index) == 2 else 0
    setup = failing.asked[0].setup
    rows: dict[str, list[AnyArray]] = {"got": [], "expected": [], "bound": []}
    for number in range(len(x)):
        unit = np.zeros_like(x)
        unit[number, feature] = 1
        scenario = Scenario(setup, (Train(x, unit),))
        response, want = transcript(scenario)[0], oracle(scenario)[0]
        dz = response.values.get("dz")
        if dz is None or isinstance(dz, SubjectError) or dz.shape != x.shape:
            return None
        rows["got"].append(np.asarray(dz)[:, feature])
        rows["expected"].append(np.asarray(want.values["dz"])[:, feature])
        rows["bound"].append(np.broadcast_to(want.bound("dz"), dz.shape)[:, feature])
    arrays = {name: ArrayRecord.of(np.array(each, np.float64)) for name, each in rows.items()}
    return Jacobian(feature=feature, z=ArrayRecord.of(x[:, feature]), **arrays)
