"""Training that starts from the weights of an artifact, as a stage of training does from the one before."""

from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from behavesim.artifact import WEIGHTS, check_files
from behavesim.errors import UserError
from behavesim.fitted_files import TOKENIZER, read_fitted
from behavesim.log import log
from behavesim.models.git import GitModel
from behavesim.models.trainable import part_of
from behavesim.models.vocabulary import vocabulary_weights


def tokenizer_of(folder: Path) -> PreTrainedTokenizerBase:
    """The tokenizer of an artifact: token embeddings mean nothing under another one.

    Raises:
        UserError: the folder is no artifact, or was converted without a tokenizer.
    """
    check_files(folder, (WEIGHTS, TOKENIZER), key="init_from")
    return read_fitted(folder).tokenizer


def start_from(model: GitModel, folder: Path) -> None:
    """Take those weights of the artifact in `folder` that the model has too, in the same shape.

    Rows of tokens that the artifact has not stay as the model has them. What reads numbers has the shape of what is
    told, and a head that of its task: where these differ they start anew.

    Raises:
        UserError: no weight fits.
    """
    own, stored = model.state_dict(), load_file(folder / WEIGHTS)
    # A head over likes has another place in a model that does nothing else.
    places = {name: (name, name.replace("head.likes.", "head."), name.replace("head.", "head.likes.")) for name in own}
    found = {name: next((stored[place] for place in of if place in stored), None) for name, of in places.items()}
    words = {id(weight) for weight in vocabulary_weights(model.llm)}
    longer = {name for name, parameter in model.named_parameters(remove_duplicate=False) if id(parameter) in words}
    found |= {name: _with_new_rows(found[name], own[name]) for name in longer if found[name] is not None}
    fitting = {name: tensor for name, tensor in found.items() if tensor is not None and tensor.shape == own[name].shape}
    if not fitting:
        raise UserError(f"init_from: no weight of {folder} fits this model; accepted: an artifact of its shapes")
    model.load_state_dict(fitting, strict=False)
    parameters = dict(model.named_parameters())
    new = sorted({part_of(name) for name, weight in parameters.items() if weight.requires_grad and name not in fitting})
    taken = sum(parameters[name].numel() for name in fitting if name in parameters)
    said = f"; anew, at least in part: {', '.join(new)}" if new else ""
    log.info("init_from: %s weights of %s%s", f"{taken:,}", folder, said)


def _with_new_rows(stored: Tensor, own: Tensor) -> Tensor:
    """Stored rows of tokens and, behind them, those that only the model has: of markers, where it now writes."""
    longer = len(stored) < len(own) and stored.shape[1:] == own.shape[1:]
    return torch.cat([stored, own[len(stored) :].to(stored)]) if longer else stored
