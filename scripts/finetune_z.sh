#!/usr/bin/env bash
# Pictures in, a judged adapter out: prepare, train, export, serve, evaluate. Each stage says "up to date" when it has nothing to do,
# and goes on where it was when it was killed.
set -euo pipefail
cd "$(dirname "$0")/.."

# 1. What to do
RECIPE=${RECIPE:-mini}
DATASET=${DATASET:-datasets/z}
DATASET=${DATASET%/}
RUN=${RUN:-$(basename "$RECIPE" .yaml)-$(date +%Y-%m-%d)}
PROMPTS=${PROMPTS:-evaluation/prompts/$(basename "$RECIPE" .yaml).yaml}
[ -f "$PROMPTS" ] || PROMPTS=evaluation/prompts/mini.yaml
SET=${SET:-}                       # values of the recipe to override: SET="steps=20 optimizer.lr=1e-4"
FORCE=${FORCE:-}
PYTHON=${PYTHON:-.venv/bin/python}
force=(); [ -z "$FORCE" ] || force=(--force)
overrides=(); for value in $SET; do overrides+=(--set "$value"); done

# A top-level value of a YAML file, without its quotes.
value_of() { sed -n "s/^$1:[[:space:]]*[\"']\{0,1\}\([^\"'[:space:]]*\).*/\1/p" "$2"; }

# 2. Where it runs
RUNNER=${RUNNER:-}
. scripts/runner.sh
choose_runner

# 3. Pictures → data set
stage training.prepare_dataset --dataset "$DATASET" --recipe "$RECIPE" "${overrides[@]}" "${force[@]}"

# 4. Data set → adapter
stage training.train_lora --dataset "$DATASET" --recipe "$RECIPE" --run "$RUN" "${overrides[@]}" "${force[@]}"

# 5. Adapter → files that every program reads
stage training.export_lora --dataset "$DATASET" --run "$RUN" "${force[@]}"

# 6. Files → pictures → report
TRIGGER=$(value_of trigger "$DATASET/concept.yaml")
BASE=$(value_of base "outputs/lora/$RUN/recipe.yaml")
serve "$BASE"
stage evaluation --server "$SERVER" --adapter "models/lora/$RUN/$RUN.safetensors" --trigger "$TRIGGER" \
  --prompts "$PROMPTS" --run "$RUN" "${force[@]}"

# 7. Where it all is
echo
echo "adapter  models/lora/$RUN/$RUN.safetensors"
echo "report   outputs/lora_eval/$RUN/report.md"
