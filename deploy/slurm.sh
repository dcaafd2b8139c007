#!/bin/sh
# A sweep in eight shards. SLURM tells each task which is its own (SLURM_ARRAY_TASK_ID and its like).
#
#   sbatch deploy/slurm.sh                        or: SEEDS=0..1000000 sbatch --array=1-64 deploy/slurm.sh
#   syncline merge syncline-reports/*.json        once all have ended
#SBATCH --job-name=syncline-sweep
#SBATCH --array=1-8
#SBATCH --cpus-per-task=4
#SBATCH --time=01:00:00
#SBATCH --output=syncline-%A-%a.log
set -u
reports=${REPORTS:-syncline-reports}
mkdir -p "$reports"
"${SYNCLINE:-syncline}" sweep --seeds "${SEEDS:-0..100000}" --faults "${FAULTS:-heavy}" \
    --jobs "${SLURM_CPUS_PER_TASK:-1}" --cases "$reports/cases" \
    --report "$reports/$SLURM_ARRAY_TASK_ID.json"
code=$?
# Exit code 1 is a finding, which the report holds: the shard has done its work.
[ "$code" -le 1 ]
