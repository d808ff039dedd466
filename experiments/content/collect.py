"""Tables of written tweets, of what `run.sh` left in `results/`.

PYTHONPATH=experiments python experiments/content/collect.py
"""

from pathlib import Path

from study import beyond, cell, header, read, row

SEEDS = range(3)
DECODES = {
    "consensus": "**model, the default: copying and consensus**",
    "uncopied": "without copying",
    "sampled": "without consensus: one draw",
    "greedy": "greedy",
}
GUESSES = {
    "most_typical": "the account's most typical training tweet",
    "nearest_in_time": "its nearest in time, here its latest",
    "nearest_by_metadata": "nearest by metadata",
    "random_tweet": "a random tweet of the account",
}
TEXTS = {"rouge_1": 3, "rouge_2": 3, "rouge_l": 3, "cider": 3, "bleu_4": 3, "chrf": 3, "distinct_texts": 2}
TEXTS |= {"copied_texts": 2, "length_ratio": 2}  # with their digits
LIKES = {"rmsle": 4, "rmse": 0, "mae": 0, "spearman": 4}
RESULTS = Path(__file__).parent / "results"


def of_seeds(name: str) -> dict[int, dict]:
    """Scores of the seeds that are there."""
    return {seed: found for seed in SEEDS if (found := read(RESULTS / name.format(seed=seed)))}


def line(label: str, runs: list[dict], metrics: dict[str, int]) -> str:
    """Each metric over seeds."""
    return row(label, str(len(runs)), *(cell([run[name] for run in runs], digits) for name, digits in metrics.items()))


if __name__ == "__main__":
    print(header("", "seeds", *TEXTS))
    for decode, label in DECODES.items():
        print(line(label, [found["model"] for found in of_seeds(f"content_{{seed}}_{decode}.json").values()], TEXTS))
    for guess, label in GUESSES.items():
        print(line(label, [found[guess] for found in of_seeds("content_{seed}_consensus.json").values()], TEXTS))
    alone = {seed: found["model"] for seed, found in of_seeds("../../likes/results/random_{seed}_train.json").items()}
    both = of_seeds("joint_{seed}.json")
    print(f"\n{header('', 'seeds', *LIKES)}")
    print(line("likes alone", list(alone.values()), LIKES))
    print(line("likes and texts", list(both.values()), LIKES))
    more = beyond([found["rmsle"] for found in both.values()], [alone[seed]["rmsle"] for seed in both])
    if more:
        print(f"\nrmsle beyond that of likes alone, of equal seeds: {more}")
