"""Where pretrained files lie: at a path, else in the Hugging Face hub's cache, else on the hub itself.

Nothing is asked of the network while the cache holds what is needed, and a hub that does not answer costs seconds.
"""

import json
from collections.abc import Callable
from difflib import get_close_matches
from fnmatch import filter as matching
from functools import partial
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Thread

from huggingface_hub import HfApi, constants, get_session, snapshot_download
from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, HFValidationError, LocalEntryNotFoundError
from huggingface_hub.utils import validate_repo_id

from behavesim.errors import UserError

# In the order in which transformers looks; each may be split into shards that `<name>.index.json` lists.
WEIGHTS = ("model.safetensors", "pytorch_model.bin")
TOKENIZERS = (("tokenizer.json",), ("tokenizer.model",), ("vocab.json", "merges.txt"))
BESIDE_WEIGHTS = (
    "config.json",
    "generation_config.json",
    "tokenizer*",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.*",
    "merges.txt",
)
PATIENCE = 3.0  # seconds that the hub has to answer at all
RANDOM_WEIGHTS = "model.pretrained=false for random weights"


class _NotFetchedError(Exception):
    """The hub gave nothing; the message is a clause that says why."""


def llm_folder(name: str, *, weights: bool = True, key: str = "model.llm") -> Path:
    """Local folder that holds `config.json` and, if `weights`, every file of one set of weights.

    `name` is a folder or the id of a repository on the hub, of which safetensors are fetched if it has them.

    Raises:
        UserError: a folder that lacks files, an id whose files are neither cached nor to be had, or neither of both.
    """
    folder = Path(name).expanduser()
    otherwise = f", or {RANDOM_WEIGHTS}" if weights else ""
    if folder.is_dir():
        if lacks := _llm_lacks(folder, weights):
            raise UserError(
                f"{key}: found the folder {name}, which lacks {', '.join(lacks)}; accepted: a folder with these "
                f"files, a Hugging Face id{otherwise}"
            )
        return folder
    try:
        validate_repo_id(name)
    except HFValidationError as error:
        raise UserError(
            f"{key}: found {name}, which is no folder and cannot be a Hugging Face id; accepted: a folder that "
            f"holds config.json{' and weights' if weights else ''}, an id such as owner/model{otherwise}"
        ) from error
    lacks, pick = partial(_llm_lacks, weights=weights), partial(_llm_pick, weights=weights)
    return _snapshot(name, lacks, pick, f"{key}: found {name}", f"a folder with these files{otherwise}")


def has_tokenizer(folder: Path) -> bool:
    """Whether `folder` holds the files of a tokenizer."""
    return any(all((folder / file).is_file() for file in files) for files in TOKENIZERS)


def vision_file(name: str, weights: str) -> Path:
    """Local file with the weights of open_clip's model `name`: `weights` is that file or one of the model's tags.

    Raises:
        UserError: a model or tag that open_clip does not know, or a file that is neither cached nor to be had.
    """
    import open_clip  # seconds of import that language models do not need
    from open_clip.constants import HF_SAFE_WEIGHTS_NAME, HF_WEIGHTS_NAME

    if name not in (known := open_clip.list_models()):
        accepted = ", ".join(get_close_matches(name, known, n=5)) or "a name of open_clip.list_models()"
        raise UserError(f"model.vision.name: found {name}, which open_clip does not know; accepted: {accepted}")
    if (path := Path(weights).expanduser()).is_file():
        return path
    # `owner/repository/file`, or `owner/repository/` for open_clip's default file.
    source = open_clip.get_pretrained_cfg(name, weights).get("hf_hub")
    if not source:
        tags = ", ".join(open_clip.list_pretrained_tags_by_model(name))
        raise UserError(
            f"model.vision.weights: found {weights}, which is no file and no tag of {name}; accepted: a file"
            + (f", or one of {tags}" if tags else f" ({name} has no tags)")
        )
    repo_id, _, file = source.rpartition("/")
    safe = Path(file).with_suffix(".safetensors").name if file else HF_SAFE_WEIGHTS_NAME
    names = list(dict.fromkeys((safe, file or HF_WEIGHTS_NAME)))
    folder = _snapshot(
        repo_id,
        lambda folder: [] if any((folder / name).is_file() for name in names) else [" or ".join(names)],
        lambda files: [name for name in names if name in files][:1],
        f"model.vision.weights: found {weights}, for {name} on the hub as {repo_id}",
        f"a path of that file, or {RANDOM_WEIGHTS}",
    )
    return next(folder / name for name in names if (folder / name).is_file())


def weight_files(folder: Path) -> tuple[list[Path], list[str]]:
    """Files of the first set of weights in `folder`, and the names of its shards that are not there.

    Both are empty where there is neither a whole file nor an index of shards.

    Raises:
        UserError: an index that lists no shards.
    """
    for name in WEIGHTS:
        if (folder / name).is_file():
            return [folder / name], []
        if (index := folder / f"{name}.index.json").is_file():
            shards = _listed_shards(index)
            return (
                [folder / shard for shard in shards if (folder / shard).is_file()],
                [shard for shard in shards if not (folder / shard).is_file()],
            )
    return [], []


def _listed_shards(index: Path) -> list[str]:
    try:
        return sorted(set(json.loads(index.read_bytes())["weight_map"].values()))
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise UserError(f"{index}: found no list of shards; accepted: JSON with a `weight_map`") from error


def _llm_lacks(folder: Path, weights: bool) -> list[str]:
    lacks = [] if (folder / "config.json").is_file() else ["config.json"]
    if not weights:
        return lacks
    files, shards = weight_files(folder)
    return lacks + (shards if files or shards else [" or ".join(WEIGHTS) + " (whole, or shards with their index)"])


def _llm_pick(files: list[str], weights: bool) -> list[str]:
    picked = [file for pattern in BESIDE_WEIGHTS for file in matching(files, pattern)]
    for name in WEIGHTS if weights else ():
        stem, suffix = name.split(".")
        if name in files:
            return [*picked, name]
        if f"{name}.index.json" in files:
            return [*picked, f"{name}.index.json", *matching(files, f"{stem}-*-of-*.{suffix}")]
    return picked


def _snapshot(
    repo_id: str,
    lacks: Callable[[Path], list[str]],
    pick: Callable[[list[str]], list[str]],
    found: str,
    accepted: str,
) -> Path:
    """Folder of `repo_id` in the hub cache once it lacks nothing; the files that `pick` takes are fetched if need be.

    `found` and `accepted` are the head and the tail of the error's line.
    """
    if not lacks(folder := _cached(repo_id)):
        return folder
    try:
        _fetch(repo_id, pick)
        if lacks(folder := _cached(repo_id)):
            raise _NotFetchedError(f"{constants.ENDPOINT} holds no more of it")
    except _NotFetchedError as error:
        missing = ", ".join(lacks(_cached(repo_id)))  # a fetch that broke off may have brought some
        raise UserError(
            f"{found}, of which the hub cache's {_store(repo_id)} lacks {missing}, and {error}; accepted: that cache "
            f"folder copied from a machine that has it, {accepted}"
        ) from error
    return folder


def _store(repo_id: str) -> Path:
    return Path(constants.HF_HUB_CACHE, "--".join(["models", *repo_id.split("/")]))


def _cached(repo_id: str) -> Path:
    """Folder of the commit that was `main` when last fetched; need not exist."""
    ref = _store(repo_id) / "refs" / constants.DEFAULT_REVISION
    commit = ref.read_text().strip() if ref.is_file() else constants.DEFAULT_REVISION
    return _store(repo_id) / "snapshots" / commit


def _fetch(repo_id: str, pick: Callable[[list[str]], list[str]]) -> None:
    endpoint, cache = constants.ENDPOINT, constants.HF_HUB_CACHE
    if constants.HF_HUB_OFFLINE:
        raise _NotFetchedError("the hub is not asked while HF_HUB_OFFLINE or TRANSFORMERS_OFFLINE is set")
    _reach(endpoint)
    try:
        listing = HfApi(endpoint=endpoint).model_info(repo_id, timeout=10).siblings or []
        if files := pick([file.rfilename for file in listing]):
            snapshot_download(repo_id, cache_dir=cache, endpoint=endpoint, allow_patterns=files)
    except Exception as error:  # those of the hub, of its HTTP client and of the disk have no other common base
        raise _NotFetchedError(_clause(endpoint, error)) from error


def _reach(endpoint: str) -> None:
    answers: SimpleQueue[Exception | None] = SimpleQueue()

    def ask() -> None:
        try:
            get_session().head(endpoint, timeout=PATIENCE)
            answers.put(None)
        except Exception as error:  # as in _fetch
            answers.put(error)

    # A thread that may be left behind: the client's own limit holds neither for name resolution nor for all addresses
    # of a host together.
    Thread(target=ask, daemon=True).start()
    try:
        error = answers.get(timeout=PATIENCE)
    except Empty:
        error = TimeoutError(f"no answer in {PATIENCE:g} s")
    if error:
        raise _NotFetchedError(f"{endpoint} cannot be reached ({_in_short(error)})") from error


def _clause(endpoint: str, error: Exception) -> str:
    if isinstance(error, LocalEntryNotFoundError) and isinstance(error.__cause__, Exception):
        error = error.__cause__  # the hub's own answer, behind the remark that the cache has no copy either
    if isinstance(error, GatedRepoError):
        return f"{endpoint} opens it only to those who asked for access on its page and ran `hf auth login`"
    status = error.response.status_code if isinstance(error, HfHubHTTPError) else None
    if status in (401, 403, 404):
        return f"{endpoint} (HTTP {status}) has no such repository, or opens it only after `hf auth login`"
    return f"fetching it from {endpoint} failed ({_in_short(error)})"


def _in_short(error: Exception) -> str:
    text = " ".join(f"{type(error).__name__}: {error}".split())
    return text if len(text) <= 200 else f"{text[:199]}…"
