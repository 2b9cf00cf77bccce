#!/usr/bin/env bash
# Table 2 of Aggarwal et al. 2020: zero-shot accuracy, SVHN -> MNIST, of networks against attacks and noise.
#
#   experiments/aggarwal_table2.sh          one network after the other, then the table; trained.sh says what may be set
#   sbatch experiments/aggarwal_table2.sh   each network is a task of an array; when all are done, the line above
# Called in the folder of this repository.
#
# Expected: on MNIST every network against attacks is better than the natural one, those against noise less so.
# Run: DATA=DIR experiments/aggarwal_table2.sh      (DIR/svhn and DIR/mnist; arguments go to `cli.py fit`)
#SBATCH --array=0-8
#SBATCH --job-name=aggarwal_table2
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=1
#SBATCH --cpus-per-task=8
#SBATCH --time=12:00:00
#SBATCH --signal=B:USR1@120
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=slurm-%x-%a.log
SCRIPT=aggarwal_table2
source experiments/trained.sh

row natural --attack.train null
for eps in ${EPS-1 2 4 8}; do
  row "at$eps" --attack.train.constraint.eps "$eps/255"
  row "n$eps" --attack.train GaussianNoise --attack.train.std "$eps/255"
done
[ -z "${SMALL:-}" ] || few+=(--model.network.name resnet_small)
train svhn_at.yaml --data.root "$data/svhn" "$@"
test_as mnist --config svhn_at.yaml --attack.evaluate null --data MNIST --data.root "$data/mnist"
table --columns data
