# The inference server. Models are mounted: docker run --publish 8000:8000 --volume "$PWD/models:/app/models:ro" zthumb-server
#   docker build --file docker/server.Dockerfile --tag zthumb-server .
FROM debian:12.12-slim

RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates python3 python3-venv \
    && rm -rf /var/lib/apt/lists/*

# cuda for a server with a GPU, cpu for one without; the CPU build of torch has an index of its own.
ARG DEVICE=cuda
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
COPY training/requirements.base.txt training/requirements.cpu.txt training/requirements.cuda.txt /tmp/pins/
RUN python3 -m venv /opt/venv \
    && if [ "$DEVICE" = cpu ]; then set -- --extra-index-url "$TORCH_INDEX"; fi \
    && /opt/venv/bin/pip install --no-cache-dir "$@" --requirement "/tmp/pins/requirements.$DEVICE.txt"

ENV PATH=/opt/venv/bin:$PATH HF_HUB_OFFLINE=1 PYTHONUNBUFFERED=1
RUN useradd --create-home zthumb
USER zthumb
WORKDIR /app
COPY --chown=zthumb foundation /app/foundation
COPY --chown=zthumb zthumb /app/zthumb
EXPOSE 8000
HEALTHCHECK --interval=10s --start-period=120s \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/health/ready', timeout=5)"]
ENV ZTHUMB_HOST=0.0.0.0
ENTRYPOINT ["python", "-m", "zthumb.server.main"]
