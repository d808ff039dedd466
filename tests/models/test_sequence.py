"""Gaps between prefix and text close, nothing changes its order, and states find their way back."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from behavesim.models.sequence import pack


@st.composite
def loose_rows(draw):
    """Validity [B, L], prefix slots, and on which side the padding goes."""
    length = draw(st.integers(1, 9))
    rows = st.lists(st.booleans(), min_size=length, max_size=length)
    valid = torch.tensor(draw(st.lists(rows, min_size=1, max_size=4)))
    return valid, draw(st.integers(0, length)), draw(st.booleans())


def embeddings_of(valid):
    """Each place's own number: 1, 2, 3, … over the batch."""
    return (torch.arange(valid.numel()).view(valid.shape) + 1.0)[:, :, None].expand(-1, -1, 2)


@settings(deadline=None)
@given(loose_rows())
def test_each_row_is_its_valid_tokens_in_order(drawn):
    valid, prefix, left = drawn
    loose = embeddings_of(valid)
    packed = pack(loose, valid, prefix, left_padded=left)
    for row in range(len(valid)):
        tokens = loose[row][valid[row]]
        start, length = int(packed.start[row]), int(packed.length[row])
        assert length == len(tokens)
        assert start == (valid.shape[1] - length if left else 0)
        assert torch.equal(packed.embeddings[row, start : start + length], tokens)


@settings(deadline=None)
@given(loose_rows())
def test_offsets_count_tokens_and_the_prefix_its_valid_slots(drawn):
    valid, prefix, left = drawn
    packed = pack(embeddings_of(valid), valid, prefix, left_padded=left)
    assert packed.prefix.tolist() == [sum(row[:prefix]) for row in valid.tolist()]
    for row, offsets in enumerate(packed.offsets.tolist()):
        length = int(packed.length[row])
        assert offsets == list(range(-int(packed.start[row]), valid.shape[1] - int(packed.start[row])))
        assert [offset for offset in offsets if 0 <= offset < length] == list(range(length))
        if left:
            assert length == 0 or offsets[-1] == length - 1  # the last token stands last, where generation reads


@settings(deadline=None)
@given(loose_rows())
def test_unpacking_inverts_packing(drawn):
    valid, prefix, left = drawn
    loose = embeddings_of(valid)
    packed = pack(loose, valid, prefix, left_padded=left)
    assert torch.equal(packed.unpack(packed.embeddings), loose)
    states = torch.randn(*valid.shape, 3)  # another width than the embeddings
    back = packed.unpack(states)
    for row, order in enumerate(packed.order.tolist()):
        assert sorted(order) == list(range(valid.shape[1]))
        for place, origin in enumerate(order):
            assert torch.equal(back[row, origin], states[row, place])


@settings(deadline=None)
@given(loose_rows())
def test_the_mask_is_that_of_the_packed_rows(naive_mask, drawn):
    valid, prefix, left = drawn
    packed = pack(embeddings_of(valid).bfloat16(), valid, prefix, left_padded=left)
    rows = list(zip(packed.start.tolist(), packed.prefix.tolist(), packed.length.tolist(), strict=True))
    assert packed.mask().dtype == torch.bfloat16
    assert torch.equal(packed.mask()[:, 0] == 0, naive_mask(rows, valid.shape[1]))


def test_gradients_reach_the_valid_tokens_through_both_ways():
    valid = torch.tensor([[True, False, True, True, False]])
    loose = torch.randn(1, 5, 4, requires_grad=True)
    packed = pack(loose, valid, 2)
    weights = torch.randn(1, 5, 4)
    (packed.unpack(packed.embeddings * 3) * weights).sum().backward()
    assert_close(loose.grad, weights * 3)
