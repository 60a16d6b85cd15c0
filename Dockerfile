# syntax=docker/dockerfile:1
# The image of every hpo service: worker, schema step, dashboard, report.
#
#   docker build --target cuda -t hpo:cuda .
#   docker build --target cpu  -t hpo:cpu --build-arg TORCH_INDEX=... .
#
# TORCH_INDEX is the address of the package index with PyTorch's CPU wheels (pytorch.org, "Get Started", CPU). Without it
# the CPU image works too, but carries the CUDA libraries of the default wheels: gigabytes that nothing uses.
#
# The base is pinned by tag. To pin it by digest, give --build-arg PYTHON_IMAGE=python:3.12-slim-bookworm@sha256:...
# CUDA comes with torch's own wheels, so both targets start from plain Python; the driver comes with the host.
ARG PYTHON_IMAGE=python:3.12-slim-bookworm
ARG TORCH="torch==2.15.0 torchvision==0.29.2"

FROM ${PYTHON_IMAGE} AS base
ENV PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    PATH=/opt/hpo/bin:$PATH

# One virtual environment, built here and copied whole. Torch first: it changes least and weighs most.
FROM base AS build
ENV PIP_NO_CACHE_DIR=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_NO_COMPILE=1
RUN python -m venv /opt/hpo
WORKDIR /src
COPY constraints.txt ./

# Triton (1 GB) stays, although nothing here calls torch.compile: where it is installed, torch uses it for some operators.
FROM build AS build-cuda
ARG TORCH
RUN pip install -c constraints.txt $TORCH
COPY pyproject.toml README.md LICENSE ./
COPY hpo hpo
COPY models models
COPY data data
COPY studies studies
RUN pip install -c constraints.txt .

FROM build AS build-cpu
ARG TORCH
ARG TORCH_INDEX=
RUN pip install ${TORCH_INDEX:+--index-url "$TORCH_INDEX"} -c constraints.txt $TORCH
COPY pyproject.toml README.md LICENSE ./
COPY hpo hpo
COPY models models
COPY data data
COPY studies studies
# Triton makes kernels only for GPUs: in the default wheels it is a gigabyte that is never loaded here. CPU wheels lack it.
RUN pip install -c constraints.txt . && pip uninstall --yes triton

# The image that runs: Python, the virtual environment, an account without rights, and one writable folder.
FROM base AS runtime
RUN groupadd --system --gid 10001 hpo \
 && useradd --system --uid 10001 --gid hpo --home-dir /var/lib/hpo --no-create-home --shell /usr/sbin/nologin hpo \
 && install --directory --owner=hpo --group=hpo /var/lib/hpo
ENV HOME=/tmp \
    HPO_HOME=/var/lib/hpo \
    XDG_CACHE_HOME=/var/lib/hpo/cache
WORKDIR /var/lib/hpo
USER 10001:10001
VOLUME /var/lib/hpo
STOPSIGNAL SIGTERM
ENTRYPOINT ["hpo"]
CMD ["--help"]

FROM runtime AS cpu
COPY --from=build-cpu /opt/hpo /opt/hpo
ARG GIT_COMMIT=
ENV HPO_COMMIT=$GIT_COMMIT \
    HPO_DEVICES=cpu
LABEL org.opencontainers.image.title="hpo" \
      org.opencontainers.image.description="Optuna hyperparameter search for PyTorch: worker, dashboard, report (CPU)" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.revision=$GIT_COMMIT

# Where GKE puts the driver; the NVIDIA container toolkit needs neither path.
FROM runtime AS cuda
COPY --from=build-cuda /opt/hpo /opt/hpo
ARG GIT_COMMIT=
ENV HPO_COMMIT=$GIT_COMMIT \
    NVIDIA_VISIBLE_DEVICES=all \
    PATH=/opt/hpo/bin:/usr/local/nvidia/bin:$PATH \
    LD_LIBRARY_PATH=/usr/local/nvidia/lib64 \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility
LABEL org.opencontainers.image.title="hpo" \
      org.opencontainers.image.description="Optuna hyperparameter search for PyTorch: worker, dashboard, report (CUDA)" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.revision=$GIT_COMMIT
