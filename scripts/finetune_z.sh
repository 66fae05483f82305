#!/usr/bin/env bash
# Images in, a judged adapter out: prepare, train, export, serve, evaluate. Each stage says "up to date" when it has nothing to do,
# and goes on where it was when it was killed.
set -euo pipefail
cd "$(dirname "$0")/.."

# 1. What to do
RECIPE=${RECIPE:-mini}
DATASET=${DATASET:-datasets/z}
DATASET=${DATASET%/}
RUN=${RUN:-$(basename "$RECIPE" .yaml)-$(date +%Y-%m-%d)}
PROMPTS=${PROMPTS:-}                # a prompts file; by default the one that the catalogue has for the base
SET=${SET:-}                        # values of the recipe to override: SET="steps=20 optimizer.lr=1e-4"
PYTHON=${PYTHON:-.venv/bin/python}
set -- --dataset "$DATASET"         # what every stage is given
[ -z "${FORCE:-}" ] || set -- "$@" --force
recipe=(--recipe "$RECIPE")
for value in $SET; do recipe+=(--set "$value"); done
prepare=("${recipe[@]}")
[ -z "${TRIGGER:-}" ] || prepare+=(--trigger "$TRIGGER")
[ -z "${ALLOW_MISSING_CAPTIONS:-}" ] || prepare+=(--allow-missing-captions)
[ -z "${SKIP_BAD:-}" ] || prepare+=(--skip-bad)

# 2. Where it runs
. scripts/runner.sh
choose_runner

# 3. What the verdict will need, looked for before hours are spent
named=$(base_named_by "$RECIPE" $SET)
if [ -z "$PROMPTS" ]; then
  PROMPTS=evaluation/prompts/$(prompts_for "$named").yaml
fi
[ -r "$PROMPTS" ] || { echo "error: PROMPTS=$PROMPTS: no such file." >&2; exit 2; }

# 4. Images → data set
stage training.prepare_dataset "$@" "${prepare[@]}"
stage evaluation check --prompts "$PROMPTS" --dataset "$DATASET"

# 5. Data set → adapter
stage training.train_lora "$@" --run "$RUN" "${recipe[@]}"

# 6. Adapter → files that every program reads
stage training.export_lora "$@" --run "$RUN"

# 7. Files → images → verdict, asked of a server that ends with it
base=$(base_of "$RECIPE" $SET)
stage evaluation "$@" --run "$RUN" --adapter "models/lora/$RUN/$RUN.safetensors" --prompts "$PROMPTS" \
  --model "$base"

# 8. Verdict → the adapter's card
stage training.export_lora --dataset "$DATASET" --run "$RUN"

# 9. Where it all is
echo
echo "adapter  models/lora/$RUN/$RUN.safetensors"
echo "report   outputs/lora_eval/$RUN/report.html"
echo "verdict  $(value_of sentence "outputs/lora_eval/$RUN/verdict.json")"
