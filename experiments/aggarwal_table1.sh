#!/usr/bin/env bash
# Table 1 of Aggarwal et al. 2020: CIFAR-10 under PGD, of networks trained against growing eps.
#
#   experiments/aggarwal_table1.sh          one network after the other, then the table; trained.sh says what may be set
#   sbatch experiments/aggarwal_table1.sh   each network is a task of an array; when all are done, the line above
# Called in the folder of this repository.
#
# Expected: with the eps of training clean accuracy falls a little, and accuracy under eps 4 and 8 grows far.
# Run: DATA=DIR experiments/aggarwal_table1.sh      (DIR/cifar10; arguments go to `cli.py fit`)
#SBATCH --array=0-4
#SBATCH --job-name=aggarwal_table1
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=1
#SBATCH --cpus-per-task=8
#SBATCH --time=12:00:00
#SBATCH --signal=B:USR1@120
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=slurm-%x-%a.log
SCRIPT=aggarwal_table1
source experiments/trained.sh

row natural --attack.train null
for eps in ${EPS-1 2 4 8}; do
  row "at$eps" --attack.train.constraint.eps "$eps/255"
done
[ -z "${SMALL:-}" ] || few+=(--model.network.name resnet_small)
train cifar10_at.yaml --data.root "$data/cifar10" "$@"
table
