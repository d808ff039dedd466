"""Layers side by side are as many layers of their own."""

import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from behavesim.models.members import MemberLinear


@settings(deadline=None)
@given(st.integers(1, 4), st.integers(1, 5), st.integers(1, 6), st.integers(1, 6))
def test_each_member_is_a_linear_layer_of_its_own(rows, members, size, width):
    layer, states = MemberLinear(members, size, width), torch.randn(rows, members, size)
    found = layer(states)
    assert found.shape == (rows, members, width)
    for member in range(members):
        expected = F.linear(states[:, member], layer.weight[member].T, layer.bias[member])
        assert_close(found[:, member], expected, atol=1e-5, rtol=1e-5)


def test_members_start_apart_and_within_the_bounds_of_a_linear_layer():
    layer = MemberLinear(3, 16, 40)
    for values in (layer.weight, layer.bias):
        assert not torch.equal(values[0], values[1]) and values.abs().max() <= 0.25
        assert values.abs().max() > 0.2


def test_one_state_is_read_by_all_members():
    layer, state = MemberLinear(3, 4, 5), torch.randn(2, 1, 4)
    assert_close(layer(state), layer(state.expand(-1, 3, -1).contiguous()))


def test_a_zeroed_layer_gives_nothing_and_learns():
    layer = MemberLinear(2, 4, 5).zeroed()
    found = layer(torch.randn(3, 2, 4))
    assert found.abs().max() == 0
    (found * torch.randn_like(found)).sum().backward()
    assert layer.weight.grad.abs().amin() > 0 and layer.bias.grad.abs().amin() > 0


def test_it_computes_in_half_precision_under_autocast():
    layer, states = MemberLinear(2, 4, 5), torch.randn(3, 2, 4)
    with torch.autocast("cpu", torch.bfloat16):
        found = layer(states)
    assert found.dtype == torch.bfloat16
    assert_close(found.float(), layer(states), atol=0.05, rtol=0.05)
