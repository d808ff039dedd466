"""Language models with published weights, from a folder or the hub's cache."""

import json
from importlib.util import find_spec
from typing import Any

import torch
from transformers import AutoModelForCausalLM, BitsAndBytesConfig, PreTrainedModel

from behavesim.errors import UserError
from behavesim.models.hub import llm_folder
from behavesim.models.llm import attention_of, causal_class, llm_config, prepared, torch_dtype


def shape_of(name: str) -> dict[str, Any]:
    """The `config.json` of a folder or hub id.

    Raises:
        UserError: it is not to be had.
    """
    return json.loads((llm_folder(name, weights=False) / "config.json").read_text())


def pretrained_llm(name: str, *, dtype: str, quantization: str) -> PreTrainedModel:
    """A language model with its weights, kept as `dtype` or in four bits (`nf4`, Dettmers et al. 2023).

    Raises:
        UserError: weights are not to be had, the model is no causal language model, or four bits cannot be had here.
    """
    if quantization == "nf4" and not (torch.cuda.is_available() and find_spec("bitsandbytes")):
        found = "no GPU" if not torch.cuda.is_available() else "no bitsandbytes"
        raise UserError(
            f"model.quantization: found nf4 and {found}; accepted: none, or a GPU and behavesim[quantization]"
        )
    model_class = causal_class(llm_config(shape_of(name)))
    llm = AutoModelForCausalLM.from_pretrained(
        llm_folder(name),
        local_files_only=True,
        dtype=torch_dtype(dtype),
        attn_implementation=attention_of(model_class),
        quantization_config=_four_bits() if quantization == "nf4" else None,
    )
    return prepared(llm)


def _four_bits() -> BitsAndBytesConfig:
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.bfloat16,
    )
