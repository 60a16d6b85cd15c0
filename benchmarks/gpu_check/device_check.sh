#!/bin/bash
# The check on a bare machine: Python with torch and pip, no network. In the root of a copy of the project that holds the kit:
#
#   PROJECT=. WHEELS=.kit/.whl KIT_DATA=.kit/data bash benchmarks/gpu_check/device_check.sh [arguments of benchmarks.gpu_check]
#
# PROJECT, WHEELS and KIT_DATA have these values by default. OUT: the folder of summary.txt and logs.tar.gz. DEVICE=cpu: a rehearsal.
# PY: the Python. BUDGET: seconds for all of it (530).
set -u
begun=$(date +%s)
PROJECT=$(realpath "${PROJECT:-.}")
WHEELS=${WHEELS:-$PROJECT/.kit/.whl}
KIT_DATA=${KIT_DATA:-$PROJECT/.kit/data}
OUT=${OUT:-/tmp/gpu-check-out}
PY=${PY:-python3}
site=$(mktemp -d /tmp/gpu-check-site-XXXXXX)
data=$(mktemp -d /tmp/gpu-check-data-XXXXXX)
trap 'rm -rf "$site" "$data"' EXIT
mkdir -p "$OUT" "$data/MNIST/raw"
chmod 755 "$site" "$data" "$OUT"

if ls "$WHEELS"/*.whl > /dev/null 2>&1; then
    $PY -m pip install -q --no-index --no-deps --no-compile --no-cache-dir --target "$site" "$WHEELS"/*.whl || exit 1
    chmod -R a+rX "$site"
fi
for packed in "$KIT_DATA"/MNIST/raw/*.gz; do
    [ -e "$packed" ] && gzip -dc "$packed" > "$data/MNIST/raw/$(basename "$packed" .gz)" # torchvision reads them unpacked
done
[ ! -e "$KIT_DATA/cifar10.npz" ] || export GPU_CHECK_CIFAR10=$(realpath "$KIT_DATA/cifar10.npz")
# The PostgreSQL that comes with hpo runs under an account of its own where root starts it.
if [ "$(id -u)" = 0 ] && ! getent passwd pgserver postgres > /dev/null && ! command -v useradd > /dev/null; then
    echo 'pgserver:x:990:990::/:/bin/false' >> /etc/passwd
    echo 'pgserver:x:990:' >> /etc/group
fi

export PYTHONPATH=$site:$PROJECT PYTHONDONTWRITEBYTECODE=1 HPO_DATA_DIR=$data HPO_COMMIT=gpu-check
unset HPO_STORAGE HPO_DEVICES HPO_HOME
cd "$PROJECT" || exit 1
$PY -P -m benchmarks.gpu_check --device "${DEVICE:-cuda}" --out "$OUT" --budget $((${BUDGET:-530} - $(date +%s) + begun)) "$@"
