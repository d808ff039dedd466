"""Language models: any Hugging Face causal LM that takes `inputs_embeds` and a 4-D mask."""

from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedModel


def tiny_llama(
    *, vocab_size: int, hidden_size: int, layers: int, heads: int, max_positions: int = 2048
) -> PreTrainedModel:
    """A Llama of the given shape with random weights and tied embeddings.

    `sdpa` is named because a 4-D float mask is known to be exact under it.
    """
    config = LlamaConfig(
        vocab_size=vocab_size,
        hidden_size=hidden_size,
        intermediate_size=3 * hidden_size,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=heads,
        max_position_embeddings=max_positions,
        tie_word_embeddings=True,
        use_cache=False,
        attn_implementation="sdpa",
    )
    return LlamaForCausalLM(config)
