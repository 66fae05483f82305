# How scripts/finetune_z.sh runs its stages: in this machine's .venv, or in the project's images where Docker and an NVIDIA GPU are there.

choose_runner() {
  RUNNER=${RUNNER:-}
  case $RUNNER in
    docker)
      docker_ready || { echo "error: RUNNER=docker needs a running Docker engine and an NVIDIA GPU; leave RUNNER out to run in .venv." >&2; exit 2; }
      echo "runner: docker, as asked"
      docker build --quiet --tag zthumb-training --file training/Dockerfile.cuda . >/dev/null
      ;;
    local) echo "runner: local, as asked" ;;
    "")
      RUNNER=local
      if docker_ready; then echo "runner: local, the default; RUNNER=docker would use the images"
      else echo "runner: local, for there is no Docker engine with an NVIDIA GPU here"; fi ;;
    *) echo "error: RUNNER=$RUNNER is neither local nor docker." >&2; exit 2 ;;
  esac
}

docker_ready() {
  command -v nvidia-smi >/dev/null && nvidia-smi >/dev/null 2>&1 && command -v docker >/dev/null && docker info >/dev/null 2>&1
}

# stage MODULE [ARGUMENT…]: run one stage to its end.
stage() {
  if [ "$RUNNER" = docker ]; then
    docker run --rm --init --gpus all --network host --user "$(id -u):$(id -g)" --volume "$PWD:/app" --workdir /app zthumb-training python -m "$@"
  else
    "$PYTHON" -m "$@"
  fi
}

# value_of KEY FILE: a top-level value of a YAML or JSON file.
value_of() { "$PYTHON" -c 'import sys, yaml; print(yaml.safe_load(open(sys.argv[2], encoding="utf-8"))[sys.argv[1]])' "$@"; }

# base_of RECIPE [KEY=VALUE…]: the base that the recipe trains onto.
base_of() {
  "$PYTHON" -c 'import sys; from foundation.errors import command; from training import recipe
sys.exit(command(lambda argv=None: print(recipe.load(argv[0], argv[1:]).base) or 0)(sys.argv[1:]))' "$@"
}
