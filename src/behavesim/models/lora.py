"""LoRA on the language model alone."""

from collections.abc import Sequence

from peft import LoraConfig, inject_adapter_in_model
from torch import nn
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from behavesim.errors import UserError


def add_lora(llm: PreTrainedModel, *, r: int, alpha: float, dropout: float, target_modules: Sequence[str]) -> None:
    """Put low-rank adapters (Hu et al. 2021) into `llm`, in place.

    The caller hands over the language model itself, never the whole model: names such as `q_proj` also occur in
    vision towers, and adapters would land there.

    Raises:
        UserError: a target that names no module of the language model.
    """
    # Of the decoder alone: an adapter on the vocabulary layer would never be reached by a head that reads states.
    modules = llm.get_decoder().named_modules()
    names = {name.rsplit(".", 1)[-1] for name, module in modules if isinstance(module, (nn.Linear, Conv1D))}
    unknown = [target for target in target_modules if target not in names]
    if unknown:
        raise UserError(
            f"model.lora.target_modules: found {', '.join(unknown)}; accepted: linear layers of the language model: "
            f"{', '.join(sorted(names)) or 'there are none, use model.lora.r=0'}"
        )
    config = LoraConfig(r=r, lora_alpha=alpha, lora_dropout=dropout, target_modules=list(target_modules))
    inject_adapter_in_model(config, llm)
    # Adapters train in fp32 whatever the frozen weights are kept in: small steps would be lost in 8 bits of mantissa.
    for name, parameter in llm.named_parameters():
        if ".lora_" in name:
            parameter.data = parameter.data.float()
