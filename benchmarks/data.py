"""How fast tables are prepared and read, and how much memory training takes as they grow.

    python benchmarks/data.py                        # 30,000 and 300,000 rows: about 20 minutes and 6 GB of disk
    python benchmarks/data.py --rows 3000 30000      # a quick look

Prints one table: seconds and peak memory of preparing a spreadsheet without pictures; the peak private memory (RssAnon
of the training process and its workers) of one epoch over prepared rows with pictures; rows a second that the loader
decodes.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from behavesim.data.batching import plan_batches
from behavesim.data.loader import LoaderSettings, TweetLoader
from behavesim.machine import description

WORDS = 20_000
SIDE = 64  # pixels of a picture
# A model small enough that an epoch over 300,000 rows takes minutes; its memory is not what is asked.
MODEL = ["model.llm.hidden_size=32", "model.vision.width=32", "model.vision.layers=1", "data.tokens_per_batch=8192"]
START = np.datetime64("2016-01-01T00:00:00")


def tweets(rows: int, seed: int = 0) -> Iterator[list[object]]:
    """Rows in the published format, with texts and media cells of the published lengths."""
    random = np.random.default_rng(seed)
    words = ["".join(random.choice(list("abcdefghijklmnopqrstuvwxyz"), random.integers(2, 11))) for _ in range(WORDS)]
    popularity = 1 / np.arange(1, WORDS + 1)
    popularity /= popularity.sum()
    for row in range(rows):
        text = " ".join(words[i] for i in random.choice(WORDS, random.integers(4, 30), p=popularity)) + " <hyperlink>"
        account = int(random.integers(0, 2000))
        when = START + np.timedelta64(int(random.integers(0, 4 * 365 * 86400)), "s")
        yield [
            row,
            str(when).replace("T", " "),
            int(random.lognormal(4, 2)),
            text,
            f"user{account}",
            media(row),
            f"company{account // 10}",
        ]


def media(row: int) -> str:
    """A photo or, every third time, a video."""
    link = f"https://pbs.example.com/media/{row:09}"
    if row % 3:
        return f"[Photo(previewUrl='{link}?format=jpg&name=small', fullUrl='{link}?format=jpg&name=large')]"
    variants = ", ".join(
        f"VideoVariant(contentType='video/mp4', url='{link}/{rate}.mp4', bitrate={rate})" for rate in (256, 832)
    )
    return f"[Video(thumbnailUrl='{link}.jpg', variants=[{variants}], duration=12.3, views={row})]"


def write_spreadsheet(path: Path, rows: int) -> None:
    """An .xlsx with `rows` tweets."""
    import xlsxwriter

    with xlsxwriter.Workbook(path, {"constant_memory": True, "strings_to_urls": False}) as book:
        sheet = book.add_worksheet()
        sheet.write_row(0, 0, ["id", "date", "likes", "content", "username", "media", "inferred company"])
        for number, values in enumerate(tweets(rows), 1):
            sheet.write_row(number, 0, values)


def write_pictures(folder: Path, rows: int) -> None:
    """A picture for every row, no two alike."""
    folder.mkdir()
    random = np.random.default_rng(1)
    for row in range(rows):
        coarse = Image.fromarray(random.integers(0, 256, (8, 8, 3), np.uint8))
        coarse.resize((SIDE, SIDE)).save(folder / f"{row}.jpg", quality=85)


def run(folder: Path, *arguments: str) -> tuple[float, float, float]:
    """Run a command: seconds, peak resident memory and peak private memory of it and its children, in MiB."""
    started = time.perf_counter()
    with (folder / "log").open("ab") as log:
        process = subprocess.Popen([sys.executable, "-m", *arguments], cwd=folder, stdout=log, stderr=log)
        resident = private = 0.0
        while process.poll() is None:
            found = [memory(pid) for pid in family(process.pid)]
            resident = max(resident, sum(both[0] for both in found))
            private = max(private, sum(both[1] for both in found))
            time.sleep(0.05)
    if process.returncode:
        raise SystemExit((folder / "log").read_text()[-2000:])
    return time.perf_counter() - started, resident, private


def family(pid: int) -> list[int]:
    """A process and all that it started."""
    try:
        children = [
            int(child) for path in Path(f"/proc/{pid}/task").glob("*/children") for child in path.read_text().split()
        ]
    except OSError:
        return []
    return [pid, *(member for child in children for member in family(child))]


def memory(pid: int) -> tuple[float, float]:
    """VmRSS and RssAnon of a process in MiB; zeros when it has ended."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0.0, 0.0
    sizes = {line.split(":")[0]: float(line.split()[1]) / 1024 for line in lines if "kB" in line}
    return sizes.get("VmRSS", 0.0), sizes.get("RssAnon", 0.0)


def decoding_speed(prepared: Path, workers: int) -> float:
    """Rows a second that the loader gives, pictures decoded, with nothing trained."""
    from behavesim.data.batch import TweetDataset
    from behavesim.data.encoded import EncodedTweets, offsets_of
    from behavesim.data.pictures.readers import StoredPictures
    from behavesim.data.prepared import PreparedTable

    table = PreparedTable(prepared)
    rows = min(len(table), 20_000)
    images = table.all()[:rows].frame("images")["images"]
    encoded = EncodedTweets(
        tokens=np.zeros(rows * 100, np.int32),
        offsets=offsets_of(np.full(rows, 100)),
        answer_length=np.zeros(rows, np.int64),
        features=np.zeros((rows, 94), np.float32),
        statistics=np.zeros((rows, 1, 3), np.float32),
        prior=np.zeros((rows, 1), np.float32),
        history=np.zeros((rows, 1, 8, 8), np.float32),
        history_valid=np.ones((rows, 1, 8), bool),
        likes=np.zeros(rows),
        pictures=images.explode().to_numpy(),
        picture_offsets=offsets_of(images.list.len().to_numpy()),
    )
    settings = LoaderSettings(8192, workers, frames=1)
    dataset = TweetDataset(encoded, pad_id=0, frames=1, reader=StoredPictures(table, SIDE))
    plan = plan_batches(settings.positions(encoded), 8192, shuffle=True)
    started = time.perf_counter()
    seen = sum(len(batch.rows) for batch in TweetLoader(dataset, lambda epoch: plan, num_workers=workers))
    return seen / (time.perf_counter() - started)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="+", default=[30_000, 300_000])
    parser.add_argument("--folder", type=Path, help="where the files go; a temporary folder that is deleted if none")
    options = parser.parse_args()
    print(description("behavesim", "torch", "lightning", "polars", "pyarrow", "fastexcel"))
    print(f"{'':46}" + "".join(f"{rows:>12,}" for rows in options.rows))
    results: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        for rows in options.rows:
            for what, value in measure(Path(name) / str(rows), rows).items():
                results.setdefault(what, []).append(value)
    for what, values in results.items():
        print(f"{what:46}" + "".join(f"{value:>12,.1f}" for value in values))


def measure(folder: Path, rows: int) -> dict[str, float]:
    """All figures of one size."""
    folder.mkdir(parents=True)
    write_spreadsheet(folder / "tweets.xlsx", rows)
    write_pictures(folder / "pictures", rows)
    seconds, resident, _ = run(folder, "behavesim.prepare", "source=tweets.xlsx", "name=plain")
    found = {"prepare without pictures: seconds": seconds, "  peak resident memory, MiB": resident}
    pictures = ["media=folder", "images_dir=pictures"]
    seconds, resident, _ = run(folder, "behavesim.prepare", "source=tweets.xlsx", "name=seen", *pictures)
    found |= {"prepare with pictures: seconds": seconds, "  peak resident memory, MiB ": resident}
    train = ["data.path=data/seen", "trainer.max_epochs=1", "logger=none", "run_name=run", *MODEL]
    seconds, _, private = run(folder, "behavesim.train", *train)
    found |= {"one epoch and test: seconds": seconds, "  peak private memory, all processes, MiB": private}
    started = time.perf_counter()
    lengths = np.random.default_rng(0).normal(104, 20, 100 * rows).round().clip(15, 300).astype(np.int32)
    plan_batches(lengths, 1024, shuffle=True)
    found["plan of a hundred times as many rows: seconds"] = time.perf_counter() - started
    for workers in (0, 1, 2):
        found[f"loader, {workers} workers: rows a second"] = decoding_speed(folder / "data" / "seen", workers)
    return found


if __name__ == "__main__":
    main()
