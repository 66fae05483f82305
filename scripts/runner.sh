# Where scripts/finetune_z.sh runs its stages: on this machine, or all of it in the training image (make docker_finetune_z).

choose_runner() {
  RUNNER=${RUNNER:-}
  case $RUNNER in
    docker)
      docker_ready || { echo "error: RUNNER=docker needs a running Docker engine; leave RUNNER out to run on this machine." >&2; exit 2; }
      echo "runner: docker, as asked"
      export RUNNER= RECIPE DATASET TRIGGER RUN PROMPTS SET
      exec make --no-print-directory docker_finetune_z
      ;;
    local) echo "runner: local, as asked" ;;
    "")
      if docker_ready; then echo "runner: local, the default; RUNNER=docker would use the image"
      else echo "runner: local, for there is no Docker engine here"; fi ;;
    *) echo "error: RUNNER=$RUNNER is neither local nor docker." >&2; exit 2 ;;
  esac
}

docker_ready() { command -v docker >/dev/null && docker info >/dev/null 2>&1; }

# stage MODULE [ARGUMENT…]: run one stage to its end.
stage() { "$PYTHON" -m "$@"; }

# value_of KEY FILE: a top-level value of a YAML or JSON file.
value_of() { "$PYTHON" -c 'import sys, yaml; print(yaml.safe_load(open(sys.argv[2], encoding="utf-8"))[sys.argv[1]])' "$@"; }

# base_named_by RECIPE [KEY=VALUE…]: what names the base that the recipe trains onto; nothing is fetched for that.
base_named_by() {
  "$PYTHON" -c 'import sys; from foundation.errors import command; from training.recipe import load; from zthumb.sources.bases import check_base
def tell(argv=None): told = load(argv[0], argv[1:]); check_base(told.base); print(told.base); return 0
sys.exit(command(tell)(sys.argv[1:]))' "$@"
}

# prompts_for BASE: the name of the prompts that adapters of that base are evaluated with.
prompts_for() { "$PYTHON" -c 'import sys; from zthumb.sources.catalogue import prompts_of; print(prompts_of(sys.argv[1]))' "$1"; }

# base_of RECIPE [KEY=VALUE…]: the folder of that base.
base_of() {
  "$PYTHON" -c 'import sys; from foundation.errors import command; from training.recipe import load; from zthumb.sources.bases import find_base
def tell(argv=None): told = load(argv[0], argv[1:]); print(find_base(told.base, told.vae)); return 0
sys.exit(command(tell)(sys.argv[1:]))' "$@"
}
