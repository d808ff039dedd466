#!/usr/bin/env bash
# A tiny model that writes tweets, and one that also predicts likes, three seeds: bash experiments/content/run.sh TABLE
# JOBS=2 runs two trainings at a time; a result that lies in results/ is not measured again (experiments/study.sh).
source "$(dirname "$0")/../study.sh"
export table=$1

# run content SEED: the last fifth in time is written, decoded in each way, beside guesses.
# run joint SEED: both tasks on the random split, whose likes experiments/likes predicts with a model of their own.
run() {
  local task=$1 seed=$2 name=$1_$2 split=random
  if [ "$task" = content ]; then split=unseen_time; fi
  local common=("data=tweets" "data.path=$table" "data.split=$split" "seed=$seed" logger=none)
  if [ ! -e "$here/results/$name.json" ]; then
    python -m behavesim.train "${common[@]}" "task=$task" "run_name=$name" callbacks.progress=null
    cp "outputs/$name/metrics.json" "$here/results/$name.json"
  fi
  if [ "$task" != content ]; then return; fi
  for decode in consensus greedy beam sampled; do
    if [ -e "$here/results/${name}_$decode.json" ]; then continue; fi
    python -m behavesim.baselines "${common[@]}" task=content "task.decode=$decode" "ckpt=checkpoints/$name" \
      "run_name=${name}_$decode"
    cp "outputs/${name}_$decode/metrics.json" "$here/results/${name}_$decode.json"
  done
}
export -f run

for seed in 0 1 2; do # whole seeds, so that an interrupted study has a table too
  echo "content $seed"
  echo "joint $seed"
done | xargs -P "$jobs" -I LINE bash -c 'run LINE'
python "$here/collect.py"
