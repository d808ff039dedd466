#!/usr/bin/env bash
# The default model beside baselines on every split, three seeds: bash experiments/likes/run.sh TABLE
# JOBS=2 runs two trainings at a time; a result that lies in results/ is not measured again (experiments/study.sh).
source "$(dirname "$0")/../study.sh"
export table=$1

# run NAME SPLIT FOLD SEED MODE...: one training, and a comparison for each mode of history.
run() {
  local name=$1 split=$2 fold=$3 seed=$4 mode
  local common=("data=tweets" "data.path=$table" "data.split=$split" "data.fold=$fold" "seed=$seed" logger=none)
  for mode in "${@:5}"; do
    if [ -e "$here/results/${name}_$mode.json" ]; then continue; fi
    if [ ! -e "checkpoints/$name" ]; then
      python -m behavesim.train "${common[@]}" "run_name=$name" callbacks.progress=null
    fi
    python -m behavesim.baselines "${common[@]}" "ckpt=checkpoints/$name" "data.history=$mode" "run_name=${name}_$mode"
    cp "outputs/${name}_$mode/metrics.json" "$here/results/${name}_$mode.json"
  done
}
export -f run

{
  for seed in 0 1 2; do # whole seeds, so that an interrupted study has a table too
    echo "random_$seed random 0 $seed train"
    echo "unseen_time_$seed unseen_time 0 $seed train"
    for fold in 0 1 2 3 4; do
      echo "company_${fold}_$seed unseen_company $fold $seed none rolling"
    done
  done
} | xargs -P "$jobs" -I LINE bash -c 'run LINE'
python "$here/collect.py"
