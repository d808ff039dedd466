#!/usr/bin/env bash
# Stored CLIP features and none, three seeds: bash experiments/features/run.sh TABLE FEATURES.npz
set -euo pipefail
table=$1
features=$2

for seed in 0 1 2; do
  common=("data.path=$table" "seed=$seed" "model.train=[projector,llm,head]")
  python -m behavesim.train "${common[@]}" "run_name=without_$seed"
  python -m behavesim.train "${common[@]}" "run_name=features_$seed" "data.image_features=$features"
done
