#!/usr/bin/env bash
# The default model beside baselines on every split, three seeds: bash experiments/likes/run.sh TABLE
# JOBS=2 runs two trainings at a time, each on one thread. What is there already is not run again.
set -euo pipefail
export table=$1
jobs=${JOBS:-1}
if [ "$jobs" -gt 1 ]; then export OMP_NUM_THREADS=1; fi

# run NAME SPLIT FOLD SEED MODE...: one training, and a comparison for each mode of history.
run() {
  local name=$1 split=$2 fold=$3 seed=$4 mode
  local common=("data=tweets" "data.path=$table" "data.split=$split" "data.fold=$fold" "seed=$seed")
  if [ ! -e "checkpoints/$name" ]; then
    python -m behavesim.train "${common[@]}" "run_name=$name" callbacks.progress=null
  fi
  for mode in "${@:5}"; do
    if [ ! -e "outputs/${name}_$mode/metrics.json" ]; then
      python -m behavesim.baselines "${common[@]}" "ckpt=checkpoints/$name" "data.history=$mode" "run_name=${name}_$mode"
    fi
  done
}
export -f run

{
  for seed in 0 1 2; do
    echo "likes_random_$seed random 0 $seed train"
    echo "likes_unseen_time_$seed unseen_time 0 $seed train"
  done
  for seed in 0 1 2; do
    for fold in 0 1 2 3 4; do
      echo "likes_company_${fold}_$seed unseen_company $fold $seed none rolling"
    done
  done
} | xargs -P "$jobs" -I LINE bash -c 'run LINE'
python "$(dirname "$(realpath "$0")")/collect.py"
