#!/usr/bin/env bash
# Three heads, three seeds, the same five epochs: bash experiments/heads/run.sh TABLE [NAME]
# Then the written answers once more, decoded greedily, and the table and plot of all.
set -euo pipefail
table=$1
name=${2:-heads}
here=$(dirname "$(realpath "$0")")

python -m behavesim.train -m "run_name=$name" "data.path=$table" logger=csv \
  seed=0,1,2 model.head=histogram,regression,text
for job in 2 5 8; do # the jobs with model.head=text
  python -m behavesim.evaluate "ckpt=checkpoints/${name}_$job" "data.path=$table" \
    task.decode=greedy "run_name=${name}_${job}_greedy"
done
python "$here/collect.py" "$name"
