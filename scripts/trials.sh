#!/usr/bin/env bash
# The defaults on concepts they were not tuned on: each is drawn, trained, evaluated as any user's data set is, and read by geometry.
set -euo pipefail
cd "$(dirname "$0")/.."
PYTHON=${PYTHON:-.venv/bin/python}

for name in ${CONCEPTS:-$("$PYTHON" -m miniature.trials names)}; do
  "$PYTHON" -m miniature.trials draw --name "$name"
  DATASET="outputs/trials/$name" RUN="trial-$name" PROMPTS="outputs/trials/$name/prompts.yaml" scripts/finetune_z.sh
done
"$PYTHON" -m miniature.trials table
