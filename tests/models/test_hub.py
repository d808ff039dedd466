"""Pretrained files are found at a path, in the hub's cache or on a hub, and what is missing is told in one line."""

import json
import re
import socket
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest
from huggingface_hub import close_session, constants

from behavesim.errors import UserError
from behavesim.models import hub
from behavesim.models.hub import has_tokenizer, llm_folder, vision_file

COMMIT = "0123456789abcdef0123456789abcdef01234567"
SHARDS = [f"model-0000{i}-of-00002.safetensors" for i in (1, 2)]
INDEX = json.dumps({"weight_map": dict(zip("ab", SHARDS, strict=True))})
OPENAI = "timm/vit_base_patch16_clip_224.openai"  # where open_clip finds the tag openai of ViT-B-16
VISION = ["open_clip_model.safetensors", "open_clip_pytorch_model.bin"]


class Handler(BaseHTTPRequestHandler):
    """The few answers of a hub that fetching needs, out of `server.repos`: {id: {path: text}}."""

    def do_GET(self):
        path = self.path.split("?")[0].strip("/")
        self.server.asked.append(path)
        if not path:
            return self.give(b"")
        if self.server.failure:
            return self.give(b"", *self.server.failure)
        for repo, files in self.server.repos.items():
            if path in (f"api/models/{repo}", f"api/models/{repo}/revision/main"):
                siblings = [{"rfilename": name} for name in files]
                return self.give(json.dumps({"id": repo, "sha": COMMIT, "siblings": siblings}).encode())
            if path == f"api/models/{repo}/tree/{COMMIT}":
                tree = [{"type": "file", "path": name, "size": len(files[name]), "oid": name} for name in files]
                return self.give(json.dumps(tree).encode())
            name = path.removeprefix(f"{repo}/resolve/{COMMIT}/")
            if name in files:
                return self.give(files[name].encode(), headers={"ETag": f'"{repo}/{name}"'.replace("/", "-")})
        return self.give(b"", 404, {"X-Error-Code": "RepoNotFound"})

    do_HEAD = do_GET

    def give(self, body, status=200, headers=None):
        self.send_response(status)
        for header in {"Content-Length": str(len(body)), "X-Repo-Commit": COMMIT, **(headers or {})}.items():
            self.send_header(*header)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def log_message(self, *args):
        pass


def point_to(port, monkeypatch):
    """What HF_ENDPOINT does when the hub's client is imported."""
    url = f"http://127.0.0.1:{port}"
    monkeypatch.setattr(constants, "ENDPOINT", url)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", url + "/{repo_id}/resolve/{revision}/{filename}")


@pytest.fixture(autouse=True)
def _sealed(tmp_path, monkeypatch):
    """No cache, account or hub of the machine: an own cache, and a port on which nobody listens."""
    monkeypatch.chdir(tmp_path)
    point_to(1, monkeypatch)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_IMPLICIT_TOKEN", True)
    monkeypatch.setattr(constants, "AGENT_HARNESSES_PATH", str(tmp_path / "harnesses.json"), raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    close_session()  # the client keeps the proxies that it was born with
    yield
    close_session()


@pytest.fixture
def server(monkeypatch):
    """A hub on this machine; `repos`, `failure` (status, headers) and `asked` are its state."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.repos, server.failure, server.asked = {}, None, []
        Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        point_to(server.server_port, monkeypatch)
        yield server
        server.shutdown()


def fill(folder, **files):
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name).write_text(text)
    return folder


def cached(tmp_path, repo, **files):
    store = tmp_path / "cache" / f"models--{repo.replace('/', '--')}"
    fill(store / "refs", main=COMMIT)
    return fill(store / "snapshots" / COMMIT, **files)


def refused(call, *args, key="model.llm", **options):
    with pytest.raises(UserError) as error:
        call(*args, **options)
    line = str(error.value)
    assert line.startswith(f"{key}: found ") and "; accepted: " in line and "\n" not in line
    return line


WHOLE = [
    *({name: ""} for name in hub.WEIGHTS),
    *({f"{name}.index.json": INDEX, **dict.fromkeys(SHARDS, "")} for name in hub.WEIGHTS),
]


@pytest.mark.parametrize("weights", WHOLE, ids=lambda files: next(iter(files)))
def test_a_folder_is_itself(tmp_path, monkeypatch, weights):
    monkeypatch.setenv("HOME", str(tmp_path))
    folder = fill(tmp_path / "llm", **{"config.json": "{}"}, **weights)
    assert llm_folder(str(folder)) == llm_folder("~/llm") == llm_folder("llm").resolve() == folder


def test_a_folder_that_lacks_files_is_refused_with_their_names(tmp_path):
    folder = fill(tmp_path / "llm")
    line = refused(llm_folder, str(folder))
    assert "lacks config.json, model.safetensors or pytorch_model.bin" in line and "model.pretrained=false" in line
    fill(folder, **{"config.json": "{}", "model.safetensors.index.json": INDEX, SHARDS[0]: ""})
    assert f"lacks {SHARDS[1]};" in refused(llm_folder, str(folder))


def test_without_weights_the_config_is_enough(tmp_path):
    line = refused(llm_folder, str(tmp_path), weights=False)
    assert "lacks config.json;" in line and "model.pretrained" not in line
    assert llm_folder(str(fill(tmp_path, **{"config.json": "{}"})), weights=False) == tmp_path


@pytest.mark.parametrize("name", ["./nope", "/no/such/folder", "a/b/c", "with space"])
def test_neither_folder_nor_id(name):
    assert "no folder and cannot be a Hugging Face id" in refused(llm_folder, name)


def test_the_cache_is_read_without_asking_the_hub(tmp_path, server):
    folder = cached(tmp_path, "acme/llama", **{"config.json": "{}", "model.safetensors": ""})
    assert llm_folder("acme/llama") == folder
    assert server.asked == []


def test_of_an_unreachable_hub_and_an_incomplete_cache_one_line_says_what_is_missing(tmp_path):
    cached(tmp_path, "acme/llama", **{"model.safetensors.index.json": INDEX, SHARDS[0]: ""})
    start = time.monotonic()
    line = refused(llm_folder, "acme/llama")
    assert time.monotonic() - start < 5
    assert f"{tmp_path}/cache/models--acme--llama lacks config.json, {SHARDS[1]}, and http://127.0.0.1:" in line
    assert "cannot be reached" in line and "model.pretrained=false" in line


def test_a_silent_hub_is_given_up_on(monkeypatch):
    monkeypatch.setattr(hub, "PATIENCE", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        point_to(silent.getsockname()[1], monkeypatch)
        assert "cannot be reached" in refused(llm_folder, "acme/llama")


def test_offline_the_hub_is_not_asked(server, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert "HF_HUB_OFFLINE" in refused(llm_folder, "acme/llama")
    assert server.asked == []


REFUSALS = [
    (404, "RepoNotFound", r"\(HTTP 404\) has no such repository"),
    (404, "", r"\(HTTP 404\) has no such repository"),
    (401, "", r"\(HTTP 401\) has no such repository, or opens it only after `hf auth login`"),
    (403, "", r"\(HTTP 403\) .* `hf auth login`"),
    (403, "GatedRepo", r"asked for access on its page"),
    (500, "", r"failed \(HfHubHTTPError: .*500"),
]


@pytest.mark.parametrize(("status", "code", "clause"), REFUSALS)
def test_a_refusal_of_the_hub_is_one_line(server, status, code, clause):
    server.failure = status, {"X-Error-Code": code}
    assert re.search(clause, refused(llm_folder, "acme/llama"))


def test_of_a_repository_config_tokenizer_and_one_format_are_fetched(server):
    wanted = {"config.json": "{}", "tokenizer.json": "t", "model.safetensors.index.json": INDEX}
    wanted |= {name: f"weights of {name}" for name in SHARDS}
    server.repos["acme/llama"] = {**wanted, "pytorch_model.bin": "b", "README.md": "r", "onnx/model.safetensors": "o"}
    folder = llm_folder("acme/llama")
    assert {file.name: file.read_text() for file in folder.rglob("*") if file.is_file()} == wanted
    assert has_tokenizer(folder)
    server.asked.clear()
    assert llm_folder("acme/llama") == folder and server.asked == []


def test_the_weights_follow_when_they_are_wanted(server):
    server.repos["acme/llama"] = {"config.json": "{}", "pytorch_model.bin": "b"}
    assert [file.name for file in llm_folder("acme/llama", weights=False).iterdir()] == ["config.json"]
    assert (llm_folder("acme/llama") / "pytorch_model.bin").read_text() == "b"


def test_a_repository_without_weights_is_refused(server):
    server.repos["acme/llama"] = {"config.json": "{}", "model.gguf": "g"}
    line = refused(llm_folder, "acme/llama")
    assert "lacks model.safetensors or pytorch_model.bin" in line and "holds no more of it" in line


@pytest.mark.parametrize("files", ["tokenizer.json", "tokenizer.model", "vocab.json merges.txt"])
def test_tokenizer_files(tmp_path, files):
    folder = fill(tmp_path / "llm", **{"tokenizer_config.json": "{}"})
    assert not has_tokenizer(folder)
    assert has_tokenizer(fill(folder, **dict.fromkeys(files.split(), "")))
    (folder / files.split()[0]).unlink()
    assert not has_tokenizer(folder)


def test_vision_weights_from_a_file(tmp_path):
    file = fill(tmp_path, **{"clip.pt": ""}) / "clip.pt"
    assert vision_file("ViT-B-16-quickgelu", str(file)) == file


@pytest.mark.parametrize("name", VISION)
def test_vision_weights_from_the_cache(tmp_path, name):
    folder = cached(tmp_path, OPENAI, **{name: ""})
    assert vision_file("ViT-B-16-quickgelu", "openai") == folder / name


def test_vision_weights_from_the_hub_without_code_if_there(server):
    server.repos[OPENAI] = {name: name for name in ("open_clip_config.json", *reversed(VISION))}
    file = vision_file("ViT-B-16-quickgelu", "openai")
    assert file.read_text() == VISION[0] and list(file.parent.iterdir()) == [file]


def test_vision_weights_that_are_not_to_be_had(tmp_path):
    line = refused(vision_file, "ViT-B-16-quickgelu", "openai", key="model.vision.weights")
    assert f"models--timm--vit_base_patch16_clip_224.openai lacks {' or '.join(VISION)}, and http" in line


def test_an_unknown_vision_model_or_tag_is_refused_with_those_that_are_known():
    line = refused(vision_file, "ViT-B-16", "openia", key="model.vision.weights")
    assert "no file and no tag of ViT-B-16" in line and "openai, laion400m_e31" in line
    assert "has no tags" in refused(vision_file, "ViT-M-16", "openai", key="model.vision.weights")
    line = refused(vision_file, "ViT-B16-quickgelu", "openai", key="model.vision.name")
    assert "ViT-B-16-quickgelu" in line.split("accepted: ")[1]
    assert "open_clip.list_models()" in refused(vision_file, "???", "openai", key="model.vision.name")
