"""The settings that every property test runs with."""

import time

from hypothesis import given, settings
from hypothesis import strategies as st


@settings(max_examples=1)
@given(example=st.none())
def test_a_slow_example_does_not_fail(example: None):
    time.sleep(0.3)  # more than Hypothesis allows unless a profile says otherwise
