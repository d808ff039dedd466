"""Image features of a prepared table: what the frozen tower of a model sees in every picture, in one file."""

import json
import os
from collections.abc import Mapping
from typing import Any

import lightning
import numpy as np
import torch
from omegaconf import DictConfig, OmegaConf
from rich.progress import track

from behavesim.data.pictures.features import FeatureWriter
from behavesim.data.pictures.readers import StoredPictures
from behavesim.data.prepared import FEATURE_FACTS, FEATURES, PreparedTable
from behavesim.errors import UserError
from behavesim.log import log
from behavesim.models.builders import vision_tower
from behavesim.tables import unique_ids

_AT_ONCE = 64  # pictures a forward pass


def write_features(cfg: DictConfig, table: PreparedTable) -> None:
    """Write the states that the tower of `cfg.model` gives of every picture, as a file for `data.image_features`.

    Raises:
        UserError: the table has no pictures, or the tower's weights are not to be had.
    """
    frame = table.all().frame("id", "images").explode("images").drop_nulls("images")
    if frame.is_empty():
        raise UserError(f"features: {table.folder} holds no pictures; accepted: media=download, folder or column")
    unique_ids(table, "features")
    path, facts = table.folder / FEATURES, _facts(OmegaConf.to_container(cfg.model, resolve=True), cfg.seed)
    known = path.with_name(FEATURE_FACTS)
    if path.exists() and known.exists() and json.loads(known.read_text()) == facts:
        log.info("features of this tower: %s", path)
        return
    # As training does before it builds a model: a tower with random weights is then the same one.
    lightning.seed_everything(cfg.seed, workers=True, verbose=False)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    tower = vision_tower(OmegaConf.to_container(cfg.model, resolve=True)).eval().to(device)
    reader = StoredPictures(table, tower.image_size)
    known.unlink(missing_ok=True)  # until the new file is whole, none is certified
    with FeatureWriter(path, rows=frame.height, tokens=tower.tokens, width=tower.width) as writer:
        for part in track(list(frame.iter_slices(_AT_ONCE)), "features", disable=not os.isatty(2)):
            pixels = torch.from_numpy(np.stack([reader.load(index) for index in part["images"]]))
            with torch.inference_mode():
                states = tower(pixels.to(device))
            writer.add(part["id"].to_list(), states.float().cpu().numpy())
    known.write_text(json.dumps(facts))
    log.info("%s pictures, %s tokens of width %s each: %s", f"{frame.height:,}", tower.tokens, tower.width, path)


def _facts(model: Mapping[str, Any], seed: int) -> dict[str, Any]:
    """What decides a tower's weights; random ones depend on the seed."""
    return {"vision": model["vision"], "pretrained": model.get("pretrained", False), "seed": seed}
