"""Trained models in the formats of other programs: a peft adapter, or a plain Hugging Face language model.

What only this package reads lies beside either: the parts of the model that are no language model, each under the
names that its weights have in `GitModel`.
"""

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from peft import LoraConfig
from peft.tuners.tuners_utils import BaseTunerLayer
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import PreTrainedModel

from behavesim.artifact import (
    CONFIG,
    WEIGHTS,
    Artifact,
    check_files,
    damage_named,
    load_artifact,
    replaced_folder,
)
from behavesim.data.tokenizer import MARKERS
from behavesim.described_model import new_markers
from behavesim.errors import UserError
from behavesim.fitted_files import FITTED, read_fitted
from behavesim.models.trainable import part_of

DESCRIPTION = "behavesim.yaml"
ADAPTER = "adapter_model.safetensors"
BESIDE = ("projector", "head", "vision")


@dataclass(frozen=True)
class Stored:
    """What an artifact directory holds, without a model built from it."""

    folder: Path
    config: Mapping[str, Any]
    model: Mapping[str, Any]  # the configuration's `model`
    weights: Mapping[str, Tensor]  # names as in `GitModel`; published weights that stayed frozen are not among them

    def part(self, name: str) -> dict[str, Tensor]:
        """Weights of a part of `models/trainable.py`."""
        return {key: tensor.contiguous() for key, tensor in self.weights.items() if part_of(key) == name}

    @property
    def base(self) -> str | None:
        """Published language model that the adapters belong to: a Hugging Face id or a folder, None without one."""
        if not self.model.get("pretrained", False):
            return None
        folder = Path(self.model["llm"]).expanduser()
        return str(folder.absolute()) if folder.is_dir() else self.model["llm"]


def read_stored(folder: Path) -> Stored:
    """Configuration and weights of an artifact directory; an adapter can be taken out without its language model.

    Raises:
        UserError: the folder is no artifact, or cannot be read.
    """
    check_files(folder, (CONFIG, WEIGHTS))
    with damage_named(folder):
        config = OmegaConf.to_container(OmegaConf.load(folder / CONFIG))
        return Stored(folder, config, config["model"], load_file(folder / WEIGHTS))


def check_format(stored: Stored, name: str) -> None:
    """Whether the artifact can be had as `adapter` or `merged`.

    Raises:
        UserError: it cannot.
    """
    if name == "adapter" and not stored.part("lora"):
        raise UserError(f"format: found adapter, and {stored.folder} was trained without LoRA; accepted: merged")
    if name == "adapter" and stored.base is not None and _has_new_tokens(stored):
        raise UserError(
            f"format: found adapter, and {stored.folder} has tokens that {stored.base} has not ({', '.join(MARKERS)}), "
            "which an adapter does not hold; accepted: merged"
        )
    if name == "merged" and stored.model.get("quantization", "none") != "none":
        raise UserError(
            f"format: found merged, and {stored.folder} keeps its language model in four bits (model.quantization="
            f"{stored.model['quantization']}), which LoRA cannot be folded into without loss; accepted: adapter"
        )


def _has_new_tokens(stored: Stored) -> bool:
    return bool(new_markers(stored.model, read_fitted(stored.folder).tokenizer))


def merged_artifact(stored: Stored) -> Artifact:
    """The artifact with its LoRA folded into the language model's own weights, which keep their dtype.

    Raises:
        UserError: it cannot be loaded.
    """
    artifact = load_artifact(stored.folder)
    llm = artifact.model.llm
    merge(llm)
    llm.config.use_cache = True  # off in training alone, where nothing is generated token by token
    # Published settings stay as they are: some that transformers would not accept of us it saves if untouched.
    if llm.generation_config.use_cache is False:
        llm.generation_config.use_cache = True
    if llm.generation_config.eos_token_id is None and artifact.model.eos_ids:
        llm.generation_config.eos_token_id = list(artifact.model.eos_ids)
    return artifact


def merge(llm: PreTrainedModel) -> None:
    """Fold LoRA into the linear layers and put these back in their places, in place."""
    layers = [(name, module) for name, module in llm.named_modules() if isinstance(module, BaseTunerLayer)]
    for name, layer in layers:
        layer.merge()
        llm.set_submodule(name, layer.get_base_layer())
    if layers:
        del llm.peft_config  # a model that has one is taken for one with adapters


@contextmanager
def written_folder(folder: Path) -> Iterator[Path]:
    """As `replaced_folder`.

    Raises:
        UserError: the place cannot be written to.
    """
    try:
        with replaced_folder(folder) as temporary:
            yield temporary
    except OSError as error:
        reason = error.strerror or error
        raise UserError(f"output: found {folder}: {reason}; accepted: a folder that can be written to") from error


def write_adapter(stored: Stored, folder: Path) -> None:
    """`adapter_config.json` and `adapter_model.safetensors`, as `PeftModel.save_pretrained` writes them."""
    lora = stored.model["lora"]
    LoraConfig(
        r=lora["r"],
        lora_alpha=lora["alpha"],
        lora_dropout=lora["dropout"],
        target_modules=list(lora["target_modules"]),
        task_type="CAUSAL_LM",
        base_model_name_or_path=stored.base,
        inference_mode=True,
    ).save_pretrained(folder)
    weights = {adapter_name(name): tensor for name, tensor in stored.part("lora").items()}
    save_file(weights, folder / ADAPTER, metadata={"format": "pt"})


def adapter_name(name: str) -> str:
    """peft's name in a file of a weight of `GitModel`, where adapters are called `default`."""
    return f"base_model.model.{name.removeprefix('llm.').replace('.default.', '.')}"


def write_language_model(artifact: Artifact, folder: Path) -> None:
    """A folder that `AutoModelForCausalLM` and `AutoTokenizer` open."""
    artifact.model.llm.save_pretrained(folder)
    artifact.encoder.tokenizer.save_pretrained(folder)


def write_parts(stored: Stored, folder: Path) -> None:
    """The other parts' weights, what was fitted on training rows, and the configuration that tells what they are.

    The tower is among them where it was trained or had random weights: others are open_clip's, by the name and tag
    that the configuration gives.
    """
    for part in BESIDE:
        if weights := stored.part(part):
            save_file(weights, folder / f"{part}.safetensors", metadata={"format": "pt"})
    for name in FITTED:
        if (stored.folder / name).exists():
            shutil.copyfile(stored.folder / name, folder / name)
    OmegaConf.save(OmegaConf.create(dict(stored.config)), folder / DESCRIPTION)


def contents(folder: Path) -> str:
    """Names of the folder's files, for people."""
    return ", ".join(sorted(path.name for path in folder.iterdir()))


def how_to_open(stored: Stored, name: str, folder: Path) -> str:
    """One line of Python, after the imports, that opens an exported folder."""
    if name == "merged" or stored.base is not None:  # with peft installed transformers fetches the adapter's base
        return f'transformers.AutoModelForCausalLM.from_pretrained("{folder}")'
    return (
        f'peft.PeftModel.from_pretrained(llm, "{folder}"), llm being the model that was trained from; '
        "it had random weights, which format=merged holds"
    )
