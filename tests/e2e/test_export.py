"""A trained model in the formats of other programs."""

import json
import shutil

import pytest
import torch
from omegaconf import OmegaConf
from peft import PeftModel
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from behavesim.artifact import load_artifact
from behavesim.cli import compose
from behavesim.errors import UserError
from behavesim.export import export
from behavesim.models.llm import causal_class
from behavesim.models.trainable import part_of
from behavesim.train import train

LORA = (
    "model.lora.r=4",
    "model.train=[projector,lora,head]",
    "model.readers.members=2",
    "optim.lr=0.03",
    "trainer.max_epochs=1",
    "data.tokens_per_batch=1024",
    "logger=none",
)
VISION = "model.vision.shape={image_size:16,patch_size:8,width:32,layers:1,heads:2}"
MPT = "model.llm_shape={d_model:32,n_layers:2,n_heads:4,vocab_size:400,max_seq_len:512}"
OPT = (
    "model.llm_shape={vocab_size:400,hidden_size:32,word_embed_proj_dim:32,ffn_dim:64,num_hidden_layers:2,"
    "num_attention_heads:4,max_position_embeddings:512}"
)
RANDOM = ("model.pretrained=false", VISION)
MODELS = {
    "llama": ("model.frames=2", "model.llm.hidden_size=32", "model.llm.vocab_size=400", "model.vision.width=32"),
    "mpt": ("model=git_mpt", MPT, "model.weights_dtype=float32", *RANDOM),
    "opt in bfloat16": ("model=git_opt", OPT, *RANDOM),
}
# Of the logits' spread. Weights in bfloat16 have 8 bits of mantissa, before LoRA is folded into them as after: logits
# of the unmerged model are 1 % away from those in float32.
CLOSE = {"llama": 1e-5, "mpt": 1e-5, "opt in bfloat16": 2e-2}


@pytest.fixture(scope="module")
def adapted(tmp_path_factory, sample_overrides):
    """Artifacts trained with LoRA, by the keys of `MODELS`."""
    made = {}

    def get(name):
        if name not in made:
            folder = tmp_path_factory.mktemp("adapted")
            paths = (f"paths.output={folder / 'output'}", f"export_dir={folder / 'artifact'}")
            train(compose("train", [*sample_overrides, *LORA, *MODELS[name], *paths]))
            made[name] = folder / "artifact"
        return made[name]

    return get


def run(ckpt, name, output="exported"):
    export(compose("export", [f"ckpt={ckpt}", f"output='{output}'", f"format={name}", "run_name=export"]))


@torch.no_grad()
def own_logits(ckpt, ids):
    """What the artifact's own model makes of plain text."""
    model = load_artifact(ckpt).model
    return model.vocabulary(model.hidden(input_ids=ids, attention_mask=torch.ones_like(ids)).text)


@torch.no_grad()
def logits(llm, ids):
    return llm.eval()(ids).logits.float()


def distance(found, expected):
    """Root mean square of the difference, in standard deviations."""
    return ((found - expected).square().mean().sqrt() / expected.std()).item()


def base_of(ckpt):
    """The language model of an artifact as it was before LoRA."""
    adapted = load_artifact(ckpt).model.llm
    weights = {name.replace(".base_layer.", "."): w for name, w in adapted.state_dict().items() if "lora_" not in name}
    llm = causal_class(adapted.config)(adapted.config).to(adapted.dtype)
    llm.load_state_dict(weights)
    return llm


IDS = torch.randint(5, 300, (3, 20), generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("name", MODELS)
def test_a_merged_model_is_a_plain_one_with_the_same_logits(here, adapted, name):
    run(adapted(name), "merged")
    llm = AutoModelForCausalLM.from_pretrained("exported")
    assert not [key for key in llm.state_dict() if "lora_" in key or "base_layer" in key]
    expected = own_logits(adapted(name), IDS)
    assert distance(logits(llm, IDS), expected) < CLOSE[name]
    assert distance(logits(base_of(adapted(name)), IDS), expected) > 0.5  # LoRA has learned something


@pytest.mark.parametrize("name", ["llama", "mpt"])
def test_a_merged_model_writes_the_same_text(here, adapted, name):
    run(adapted(name), "merged")
    llm = AutoModelForCausalLM.from_pretrained("exported")
    assert llm.config.use_cache is True and llm.generation_config.use_cache is True
    own = load_artifact(adapted(name)).model
    expected = own.generate(max_new_tokens=6, input_ids=IDS, attention_mask=torch.ones_like(IDS))
    found = llm.generate(IDS, attention_mask=torch.ones_like(IDS), max_new_tokens=6, do_sample=False, pad_token_id=0)
    assert torch.equal(found[:, IDS.shape[1] :], expected)
    assert llm.generation_config.eos_token_id in (2, [2])  # <eos> of a tokenizer that is learned


def test_a_merged_model_keeps_tied_weights_dtype_and_tokenizer(here, adapted):
    run(adapted("opt in bfloat16"), "merged")
    llm = AutoModelForCausalLM.from_pretrained("exported")
    assert llm.dtype == torch.bfloat16
    assert llm.get_input_embeddings().weight.data_ptr() == llm.get_output_embeddings().weight.data_ptr()
    assert "lm_head.weight" not in load_file("exported/model.safetensors")
    tokenizer = AutoTokenizer.from_pretrained("exported")
    ids = tokenizer("like this <mention>", return_tensors="pt")["input_ids"]
    assert tokenizer.decode(ids[0]) == "like this <mention>"


@pytest.mark.parametrize("name", MODELS)
def test_an_adapter_opens_with_peft(here, adapted, name):
    run(adapted(name), "adapter")
    llm = PeftModel.from_pretrained(base_of(adapted(name)), "exported")
    assert distance(logits(llm, IDS), own_logits(adapted(name), IDS)) < CLOSE[name]


def test_an_adapter_has_the_names_of_peft(here, adapted):
    run(adapted("llama"), "adapter")
    assert {
        f"base_model.model.model.layers.0.self_attn.{layer}.lora_{side}.weight"
        for layer in ("q_proj", "v_proj")
        for side in "AB"
    } == set(load_file("exported/adapter_model.safetensors"))
    config = json.loads((here / "exported" / "adapter_config.json").read_text())
    assert (config["r"], config["lora_alpha"], config["peft_type"]) == (4, 32, "LORA")
    assert config["base_model_name_or_path"] is None  # random weights are nobody's


def as_published(ckpt, name, tokenizer, quantization="none"):
    """A copy of the artifact as it would be had it been trained from published weights called `name`."""
    shutil.copytree(ckpt, "published")
    tokenizer.save_pretrained("published/tokenizer")
    config = OmegaConf.load("published/config.yaml")
    config.model = OmegaConf.merge(config.model, {"pretrained": True, "llm": name, "quantization": quantization})
    OmegaConf.save(config, "published/config.yaml")
    weights = load_file("published/model.safetensors")
    kept = {key: weight for key, weight in weights.items() if part_of(key) not in ("llm", "vision")}
    save_file(kept, "published/model.safetensors")
    return "published"


def test_an_adapter_of_published_weights_finds_them(here, adapted, published_tokenizer, caplog):
    caplog.set_level("INFO")
    base_of(adapted("mpt")).save_pretrained("base")
    run(as_published(adapted("mpt"), "base", published_tokenizer()), "adapter")
    assert not (here / "exported" / "vision.safetensors").exists()
    assert 'open it with transformers.AutoModelForCausalLM.from_pretrained("exported")' in caplog.messages
    llm = AutoModelForCausalLM.from_pretrained("exported")
    assert distance(logits(llm, IDS), own_logits(adapted("mpt"), IDS)) < CLOSE["mpt"]


def test_an_adapter_is_written_where_the_published_weights_are_not_and_four_bits_are_not_merged(
    here, adapted, published_tokenizer
):
    published = as_published(adapted("mpt"), "mosaicml/mpt-7b", published_tokenizer(), quantization="nf4")
    with pytest.raises(UserError, match=r"^format: found merged, .*quantization=nf4.*; accepted: adapter$"):
        run(published, "merged")
    run(published, "adapter")
    config = json.loads((here / "exported" / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == "mosaicml/mpt-7b"


@pytest.mark.parametrize("format_", ["adapter", "merged"])
def test_the_other_parts_lie_beside(here, adapted, format_, caplog):
    caplog.set_level("INFO")
    run(adapted("llama"), format_)
    weights = load_artifact(adapted("llama")).model.state_dict()
    beside = {name: load_file(f"exported/{name}.safetensors") for name in ("projector", "head", "vision")}
    assert {"projector.linear.weight", "frame_embedding", "metadata.hidden.weight"} < set(beside["projector"])
    assert "head.linear.weight" in beside["head"]
    for part in beside.values():
        assert all(torch.equal(tensor, weights[name]) for name, tensor in part.items())
    assert sum(map(len, beside.values())) == sum(not name.startswith("llm.") for name in weights)
    assert OmegaConf.load("exported/behavesim.yaml") == OmegaConf.load(adapted("llama") / "config.yaml")
    assert (here / "exported" / "bins.json").exists() and (here / "exported" / "features.json").exists()
    *_, listed, opening = caplog.messages
    assert listed.startswith("exported holds ") and "projector.safetensors" in listed
    assert '.from_pretrained("exported")' in opening or '.from_pretrained(llm, "exported")' in opening


def test_without_lora_there_is_no_adapter_and_the_trained_model_is_merged(here, trained):
    with pytest.raises(UserError, match=r"^format: found adapter, .*without LoRA; accepted: merged$"):
        run(trained.artifact, "adapter")
    run(trained.artifact, "merged")
    found = logits(AutoModelForCausalLM.from_pretrained("exported"), IDS)
    assert distance(found, own_logits(trained.artifact, IDS)) < CLOSE["llama"]


def test_a_folder_that_exists_is_replaced_as_a_whole(here, adapted, caplog):
    caplog.set_level("INFO")
    run(adapted("llama"), "adapter", "a folder")
    run(adapted("llama"), "merged", "a folder")
    assert "exists and is replaced" in caplog.text
    assert not (here / "a folder" / "adapter_config.json").exists()
    assert [path.name for path in here.iterdir()] == ["a folder"]


def test_an_export_that_fails_leaves_the_folder_of_before(here, adapted, monkeypatch):
    run(adapted("llama"), "adapter")
    before = sorted(here.rglob("*"))
    full = OSError(28, "No space left on device")
    monkeypatch.setattr("behavesim.export_formats.shutil.copyfile", lambda *_: (_ for _ in ()).throw(full))
    with pytest.raises(UserError, match=r"^output: found exported: No space left on device; accepted: a folder"):
        run(adapted("llama"), "merged")
    assert sorted(here.rglob("*")) == before


@pytest.mark.parametrize("place", [".", "artifact", "..", "repository", "file"])
def test_a_place_that_holds_other_things_is_refused(here, adapted, place):
    shutil.copytree(adapted("llama"), "artifact")
    (here / "repository" / ".git").mkdir(parents=True)
    (here / "file").touch()
    with pytest.raises(UserError, match=rf"^output: found {place.replace('.', '[.]')}, which holds other things"):
        run("artifact", "adapter", place)
    assert (here / "artifact" / "config.yaml").exists()


@pytest.mark.parametrize("name", ["config.yaml", "model.safetensors"])
@pytest.mark.parametrize("format_", ["adapter", "merged"])
def test_a_damaged_artifact_is_one_line(here, adapted, name, format_):
    shutil.copytree(adapted("llama"), "artifact")
    (here / "artifact" / name).write_bytes(b"\x00 not what it was")
    with pytest.raises(UserError, match=r"^ckpt=artifact: a damaged artifact \(.*; accepted: ") as caught:
        run("artifact", format_)
    assert len(str(caught.value).splitlines()) == 1
    (here / "artifact" / name).unlink()
    with pytest.raises(UserError, match=rf"^ckpt=artifact: without {name}; accepted: "):
        run("artifact", format_)
    assert not (here / "exported").exists()


def test_what_is_wrong_with_the_command_is_said_at_once(here, main):
    found = main("export", "ckpt=nowhere", "format=onnx", "fromat=merged")
    assert (found.code, found.out) == (2, "")
    assert found.lines == [
        "error: fromat: no such key; did you mean format? accepted: ckpt, format, output, paths, run_name",
        "error: output: found nothing; accepted: a value, there is no default",
        "error: format: found 'onnx'; accepted: 'adapter' or 'merged'",
        "error: ckpt: found nowhere, which does not exist; accepted: an artifact directory",
    ]
