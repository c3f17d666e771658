#!/usr/bin/env bash
# Train on several processes of one or more machines, with torchrun:
#   tools/dist_train.sh CONFIG GPUS [arguments of tools/train.py]
# Several machines: call it on each with NNODES, NODE_RANK and MASTER_ADDR set.
# Two runs on one machine: give the second another PORT (default 29500).
# Without CUDA the processes talk through gloo.
set -euo pipefail
if [ $# -lt 2 ]; then
    sed -n '2,6s/^# \{0,1\}//p' "$0" >&2
    exit 2
fi
config=$1
gpus=$2
shift 2
exec "${PYTHON:-python}" -m torch.distributed.run \
    --nnodes="${NNODES:-1}" --node_rank="${NODE_RANK:-0}" --nproc_per_node="$gpus" \
    --master_addr="${MASTER_ADDR:-127.0.0.1}" --master_port="${MASTER_PORT:-${PORT:-29500}}" \
    "$(dirname "$0")/train.py" "$config" --launcher pytorch "$@"
