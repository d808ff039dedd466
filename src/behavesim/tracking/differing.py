"""Which settings tell runs apart."""

from collections.abc import Iterable, Mapping, Sequence

Params = Mapping[str, str]
# Where a run writes, what it is called and how it shows its progress: no reason why one is better than another.
BOOKKEEPING = ("run_name", "export_dir", "paths", "logger", "ckpt_path", "dry_run", "optimized_metric")
BOOKKEEPING += ("data.sample.folder", "callbacks.progress")
DIRPATH = ".dirpath"


def differing(runs: Sequence[Params], named: Iterable[str] = ()) -> list[str]:
    """The keys whose values differ among runs, those that a user would look for first.

    `named` are keys that users wrote themselves. They come first, choices of a group (keys without a dot) before them.
    A key that some runs lack, as another model has other settings, differs where it is named or its values do.
    Bookkeeping is left out, and so is what follows another key by interpolation, as `optim.optimizer.lr` does.
    """
    wanted = list(dict.fromkeys(named))
    keys = sorted({key for params in runs for key in params if not is_bookkeeping(key)}, key=_depth)
    columns: dict[str, tuple[str | None, ...]] = {}
    for key in keys:
        values = tuple(params.get(key) for params in runs)
        told = key in wanted  # what a user wrote is shown even where it looks like the shadow of another key
        if len(set(values) - (set() if told else {None})) > 1 and (told or not _follows(key, values, columns)):
            columns[key] = values
    places = {key: place for place, key in enumerate(wanted)}
    return sorted(columns, key=lambda key: ("." in key, places.get(key, len(places)), key))


def is_bookkeeping(key: str) -> bool:
    """Whether a key says nothing of what a run computes."""
    return key.endswith(DIRPATH) or any(f"{key}.".startswith(f"{name}.") for name in BOOKKEEPING)


def named_keys(overrides: str) -> list[str]:
    """The keys of a command line's overrides, as `optim.lr` of `optim.lr=1e-3 +trainer.limit_val_batches=2`."""
    return [word.partition("=")[0].lstrip("+~") for word in overrides.split() if "=" in word]


def short_names(keys: Sequence[str]) -> dict[str, str]:
    """Each key's shortest ending that is no other's: `lr` of `optim.lr`, as long as there is no second `lr`."""
    found = {}
    for key in keys:
        parts = key.split(".")
        endings = [".".join(parts[start:]) for start in range(len(parts) - 1, -1, -1)]
        others = [f".{other}" for other in keys if other != key]
        found[key] = next((end for end in endings if not any(o.endswith(f".{end}") for o in others)), key)
    return found


def _follows(key: str, values: tuple[str | None, ...], columns: Mapping[str, tuple[str | None, ...]]) -> bool:
    leaf = key.rsplit(".", 1)[-1]
    return any(values == known and leaf == other.rsplit(".", 1)[-1] for other, known in columns.items())


def _depth(key: str) -> tuple[int, str]:
    return key.count("."), key
