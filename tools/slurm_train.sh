#!/usr/bin/env bash
# Train under Slurm, one torchrun a machine:
#   tools/slurm_train.sh PARTITION JOB_NAME CONFIG GPUS [arguments of tools/train.py]
# GPUS is the number over all machines, GPUS_PER_NODE (default 8, at most GPUS) of each.
# CPUS_PER_GPU (default 5) and SRUN_ARGS go to srun; PORT (default 29500) is the rendezvous.
# With --resume auto a job begins, and goes on where it is requeued.
set -euo pipefail
if [ $# -lt 4 ]; then
    sed -n '2,6s/^# \{0,1\}//p' "$0" >&2
    exit 2
fi
partition=$1
job=$2
config=$3
gpus=$4
shift 4
per_node=${GPUS_PER_NODE:-8}
per_node=$((gpus < per_node ? gpus : per_node))
if [ $((gpus % per_node)) -ne 0 ]; then
    echo "error: GPUS $gpus is not a multiple of GPUS_PER_NODE $per_node: set either" >&2
    exit 1
fi
port=${MASTER_PORT:-${PORT:-29500}}
python=${PYTHON:-python}
train=$(dirname "$0")/train.py
# Inside srun each machine knows the first one as the rendezvous.
launch='exec "$0" -m torch.distributed.run --nnodes="$SLURM_NNODES" --nproc_per_node="$1" \
    --rdzv_id="$SLURM_JOB_ID" --rdzv_backend=c10d \
    --rdzv_endpoint="$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1):$2" "${@:3}"'
# shellcheck disable=SC2086  # SRUN_ARGS holds several words on purpose
exec srun -p "$partition" --job-name="$job" \
    --nodes=$((gpus / per_node)) --ntasks-per-node=1 --gres="gpu:$per_node" \
    --cpus-per-task=$((per_node * ${CPUS_PER_GPU:-5})) --kill-on-bad-exit=1 ${SRUN_ARGS:-} \
    bash -c "$launch" "$python" "$per_node" "$port" "$train" "$config" --launcher pytorch "$@"
