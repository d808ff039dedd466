#!/usr/bin/env bash
# The default model with one part left out or exchanged, three seeds: bash experiments/ablations/run.sh TABLE FEATURES.npz
# JOBS=2 runs two trainings at a time; a result that lies in results/ is not measured again (experiments/study.sh).
# The whole model is not trained again: its scores are those of experiments/likes/, which ran before.
source "$(dirname "$0")/../study.sh"
export table=$1
export features=$2

# run NAME SEED OVERRIDE...: one training on the random split.
run() {
  local name=$1_$2
  if [ -e "$here/results/$name.json" ]; then return; fi
  python -m behavesim.train data=tweets "data.path=$table" "seed=$2" logger=none "run_name=$name" \
    callbacks.progress=null "${@:3}"
  cp "outputs/$name/metrics.json" "$here/results/$name.json"
}
export -f run

for seed in 0 1 2; do # whole seeds, so that an interrupted study has a table too
  echo "no_text $seed task.shows=[time,media] task.text_summary=0 task.max_length=8"
  echo "no_history $seed data.history=none"
  echo "no_time $seed task.shows=[media,wording]"
  echo "image_features $seed data.image_features=$features model.train=[projector,llm,head]"
  echo "regression $seed model.head=regression"
  echo "digits $seed model.head=text"
done | xargs -P "$jobs" -I LINE bash -c 'run LINE'
python "$here/collect.py"
