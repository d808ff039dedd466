"""Tokens that a published vocabulary has not."""

from dataclasses import replace

import pytest
import torch

from behavesim.models.llm import llm_config, random_llm, vocabulary_logits
from behavesim.models.vocabulary import grow_vocabulary

PIECES = {300: [5, 6, 7], 301: [8]}


@pytest.fixture
def language_model(family_shape, lively_weights):
    return lambda family, **shape: lively_weights(random_llm(llm_config(family_shape(family, **shape))))


def test_a_new_token_is_read_and_written_as_the_mean_of_its_pieces(language_model, family):
    llm = language_model(family)
    states = torch.randn(3, 32, generator=torch.Generator().manual_seed(0))
    words, logits = llm.get_input_embeddings()(torch.arange(300)), vocabulary_logits(llm, states)
    grow_vocabulary(llm, PIECES)
    grown, new = llm.get_input_embeddings()(torch.arange(302)), vocabulary_logits(llm, states)
    assert torch.equal(grown[:300], words) and torch.equal(new[:, :300], logits)
    assert torch.allclose(grown[300], words[5:8].mean(dim=0)) and torch.equal(grown[301], words[8])
    assert torch.allclose(new[:, 300], logits[:, 5:8].mean(dim=1), atol=1e-5)
    assert llm.config.vocab_size == 302


def test_rows_to_spare_are_taken(language_model):
    llm = language_model("llama", vocab_size=304)
    grow_vocabulary(llm, PIECES)
    words = llm.get_input_embeddings().weight
    assert len(words) == 304 and torch.allclose(words[300], words[5:8].mean(dim=0))


def test_no_new_token_changes_nothing(language_model):
    llm = language_model("llama")
    before = llm.get_input_embeddings().weight
    grow_vocabulary(llm, {})
    assert llm.get_input_embeddings().weight is before


def test_new_tokens_of_a_frozen_model_stay_as_they_are(family_model, data_facts):
    facts = replace(data_facts(), task="content", markers=PIECES, answering=None)
    model = family_model("llama", r=2, facts=facts, train=["projector", "lora"])
    assert model.llm.get_output_embeddings().out_features == 302
    assert not [name for name, weight in model.named_parameters() if weight.requires_grad and "embed_tokens" in name]
