# The inference server. Models are mounted, and only read:
#   docker build --file docker/server.Dockerfile --tag zthumb-server .
#   docker run --publish 127.0.0.1:8000:8000 --volume "$PWD/models:/app/models:ro" zthumb-server
# On an NVIDIA GPU: --build-arg DEVICE=cuda --build-arg TORCH_WHEELS=
FROM debian:12.15-slim AS system
# Debian as it was on one day. Any archive will do that has these versions: --build-arg DEBIAN=http://deb.debian.org --build-arg DAY=
ARG DEBIAN=http://snapshot.debian.org/archive
ARG DAY=/20261121T000000Z
SHELL ["/bin/sh", "-eu", "-c"]
RUN rm -rf /etc/apt/sources.list.d /etc/apt/sources.list; \
    for suite in "debian$DAY bookworm" "debian$DAY bookworm-updates" "debian-security$DAY bookworm-security"; do \
        echo "deb [check-valid-until=no] $DEBIAN/$suite main" >>/etc/apt/sources.list; \
    done; \
    apt-get update; \
    apt-get install --yes --no-install-recommends \
        ca-certificates=20250419~deb12u2 python3=3.11.2-1+b1 python3.11=3.11.2-6+deb12u9; \
    rm -rf /var/lib/apt/lists/* /var/log/*; \
    useradd --create-home --uid 1000 zthumb

FROM system AS packages
RUN apt-get update; \
    apt-get install --yes --no-install-recommends python3-venv=3.11.2-1+b1 python3.11-venv=3.11.2-6+deb12u9; \
    rm -rf /var/lib/apt/lists/*; \
    python3 -m venv /opt/installer; \
    python3 -m venv --without-pip /opt/venv
# cpu or cuda; and where CPU builds of torch come from, which PyPI does not have.
ARG DEVICE=cpu
ARG TORCH_WHEELS=https://download.pytorch.org/whl/cpu/torch/
COPY docker/locks/server-$DEVICE.txt /opt/lock.txt
RUN /opt/installer/bin/pip --python /opt/venv/bin/python install --no-cache-dir --no-deps --only-binary :all: --require-hashes \
        ${TORCH_WHEELS:+--find-links "$TORCH_WHEELS"} --requirement /opt/lock.txt

FROM system
COPY --from=packages /opt/venv /opt/venv
WORKDIR /app
COPY foundation /app/foundation
COPY zthumb /app/zthumb
COPY presets /app/presets
RUN mkdir models outputs; chown zthumb outputs
ENV PATH=/opt/venv/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 \
    ZTHUMB_HOST=0.0.0.0 ZTHUMB_DATA_FOLDER=/app/outputs/server ZTHUMB_DOWNLOAD_FOLDER=/app/outputs/models HF_HOME=/app/outputs/hub
USER 1000
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=6s --start-period=3600s --retries=3 CMD ["python", "-m", "zthumb.server.health"]
ENTRYPOINT ["python", "-m", "zthumb.server.main"]
