#!/usr/bin/env bash
# What is gained and paid as the eps of training grows, and how much of that is chance: eps by seed on Shapes.
#
#   experiments/eps_by_seed.sh          one run after the other, then the table; called again, it goes on
#   sbatch experiments/eps_by_seed.sh   each run is a task of an array; when all are done, the line above makes the table
#
# Called in the folder of this repository. EPS="0.01 0.1" and SEEDS="0" take other rows, arguments go to `cli.py fit`.
#SBATCH --array=0-8
#SBATCH --job-name=eps_by_seed
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=2
#SBATCH --time=1:00:00
#SBATCH --signal=B:USR1@60
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=slurm-%x-%a.log
set -euo pipefail

rows=()
for eps in ${EPS:-0.02 0.04 0.06}; do
  for seed in ${SEEDS:-0 1 2}; do
    rows+=("--name eps${eps}_seed${seed} --attack.train.constraint.eps $eps --seed_everything $seed")
  done
done
all=(--runs runs/eps_by_seed --ckpt_path last)

if [ -n "${SLURM_ARRAY_TASK_ID:-}" ]; then
  exec slurm/train.sbatch quickstart.yaml "${all[@]}" ${rows[$SLURM_ARRAY_TASK_ID]} "$@"
fi
saddle=${SADDLE_COMMAND:-.venv/bin/python cli.py}
for row in "${rows[@]}"; do
  $saddle fit --config quickstart.yaml "${all[@]}" $row "$@"
done
$saddle report runs/eps_by_seed/*/
