# How scripts/finetune_z.sh runs its stages: in this machine's .venv, or in the project's images where Docker and an NVIDIA GPU are there.

choose_runner() {
  RUNNER=${RUNNER:-}
  case $RUNNER in
    docker)
      docker_ready || { echo "error: RUNNER=docker needs a running Docker engine and an NVIDIA GPU; leave RUNNER out to run in .venv." >&2; exit 2; }
      echo "runner: docker, as asked"
      docker build --quiet --tag zthumb-training --file training/Dockerfile.cuda . >/dev/null
      docker build --quiet --tag zthumb-server --file docker/server.Dockerfile . >/dev/null ;;
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

# value_of KEY FILE: a top-level value of a YAML file.
value_of() { "$PYTHON" -c 'import sys, yaml; print(yaml.safe_load(open(sys.argv[2], encoding="utf-8"))[sys.argv[1]])' "$@"; }

# serve BASE: start a server on a free port, wait until it is ready, set SERVER to its address; it is stopped whatever happens.
serve() {
  local port deadline=$((SECONDS + 600)) code=0
  port=$("$PYTHON" -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
  SERVER=http://127.0.0.1:$port
  trap stop_server EXIT
  trap 'exit 130' INT
  trap 'exit 143' TERM
  # What the user has set for a server of his own is not for this one.
  unset MODEL Z_LORA_PATH Z_LORA_SCALE "${!ZTHUMB_@}"
  SERVER_DATA=$(mktemp -d)
  export ZTHUMB_DATA_FOLDER=$SERVER_DATA
  if [ "$RUNNER" = docker ]; then
    docker run --rm --init --gpus all --network host --volume "$PWD/models:/app/models:ro" --workdir /app --env ZTHUMB_DATA_FOLDER=/tmp/server \
      zthumb-server --host 127.0.0.1 --port "$port" --model "$1" &
  else
    "$PYTHON" -m zthumb.server.main --host 127.0.0.1 --port "$port" --model "$1" &
  fi
  SERVER_PID=$!
  while [ "$SECONDS" -lt "$deadline" ]; do
    healthy "$SERVER" || code=$?
    case $code in
      0) return ;;
      3) exit 1 ;;
    esac
    code=0
    if ! kill -0 "$SERVER_PID" 2>/dev/null; then wait "$SERVER_PID" || code=$?; exit "$code"; fi
    sleep 0.5
  done
  echo "failed: the server was not ready within ten minutes." >&2
  exit 1
}

# healthy SERVER: 0 when it is ready, 3 when it never will be, which is then told, 1 while it may become so.
healthy() {
  "$PYTHON" - "$1" <<'PYTHON'
import json, sys, urllib.error, urllib.request
try:
    urllib.request.build_opener(urllib.request.ProxyHandler({})).open(sys.argv[1] + "/health/ready", timeout=2)
except urllib.error.HTTPError as answer:
    found = json.load(answer)
    if found["failed"]:
        sys.exit(print(f"failed: the server is not ready: {found['reason']}", file=sys.stderr) or 3)
    sys.exit(1)
except OSError:
    sys.exit(1)
PYTHON
}

stop_server() {
  if [ -n "${SERVER_PID:-}" ]; then kill "$SERVER_PID" 2>/dev/null || true; wait "$SERVER_PID" 2>/dev/null || true; fi
  if [ -n "${SERVER_DATA:-}" ]; then rm -rf "$SERVER_DATA"; fi
}
