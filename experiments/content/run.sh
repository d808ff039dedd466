#!/usr/bin/env bash
# A tiny model that writes tweets, and one that also predicts likes, three seeds: bash experiments/content/run.sh TABLE
# JOBS=2 runs two trainings at a time; a result that lies in results/ is not measured again (experiments/study.sh).
source "$(dirname "$0")/../study.sh"
export table=$1

# content SEED: the last fifth in time is written, decoded in each way, beside guesses.
content() {
  local name=content_$1 how missing=
  for how in consensus uncopied sampled greedy; do
    if [ ! -e "$here/results/${name}_$how.json" ]; then missing=$how; fi
  done
  if [ -z "$missing" ]; then return; fi
  local common=("data=tweets" "data.path=$table" data.split=unseen_time "seed=$1" task=content logger=none)
  if [ ! -e "checkpoints/$name" ]; then # its texts are decoded below
    python -m behavesim.train "${common[@]}" "run_name=$name" callbacks.progress=null callbacks.previews.count=0 \
      task.decode=greedy
  fi
  decoded "$name" consensus
  decoded "$name" uncopied task.decode=consensus task.copying=0
  decoded "$name" sampled
  decoded "$name" greedy
}

# decoded NAME HOW [SETTING…]: texts of that model, by task.decode=HOW or these settings.
decoded() {
  local name=$1 how=$2
  shift 2
  if [ -e "$here/results/${name}_$how.json" ]; then return; fi
  if [ $# = 0 ]; then set -- "task.decode=$how"; fi
  python -m behavesim.baselines "${common[@]}" "$@" "ckpt=checkpoints/$name" "run_name=${name}_$how"
  cp "outputs/${name}_$how/metrics.json" "$here/results/${name}_$how.json"
}

# joint SEED: both tasks on the random split, whose likes experiments/likes predicts with a model of their own.
joint() {
  local name=joint_$1
  if [ -e "$here/results/$name.json" ]; then return; fi
  python -m behavesim.train data=tweets "data.path=$table" data.split=random "seed=$1" task=joint logger=none \
    "run_name=$name" callbacks.progress=null callbacks.previews.count=0 task.content.decode=greedy
  cp "outputs/$name/metrics.json" "$here/results/$name.json"
}
export -f content decoded joint

for seed in 0 1 2; do # whole seeds, so that an interrupted study has a table too
  echo "content $seed"
  echo "joint $seed"
done | xargs -P "$jobs" -I LINE bash -c LINE
python "$here/collect.py"
