"""Means and deviations of numbers that come in chunks."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from behavesim.data.features import Moments

VALUES = st.floats(-1e6, 1e6, allow_nan=False).map(lambda value: round(value, 3))


@given(st.lists(st.lists(st.tuples(VALUES, VALUES), min_size=1, max_size=9), min_size=1, max_size=6))
def test_moments_are_those_of_numpy(chunks):
    moments = Moments()
    for chunk in chunks:
        moments.add(np.array(chunk))
    values = np.concatenate([np.array(chunk) for chunk in chunks])
    scale = np.abs(values).max() + 1
    assert moments.count == len(values)
    np.testing.assert_allclose(moments.mean, values.mean(axis=0), rtol=1e-9, atol=1e-12 * scale)
    np.testing.assert_allclose(moments.deviation(), values.std(axis=0), rtol=1e-6, atol=1e-7 * scale)
