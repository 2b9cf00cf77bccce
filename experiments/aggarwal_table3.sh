#!/usr/bin/env bash
# Table 3 of Aggarwal et al. 2020: zero-shot accuracy, MNIST -> USPS, of networks against attacks and noise.
#
#   experiments/aggarwal_table3.sh          one network after the other, then the table; trained.sh says what may be set
#   sbatch experiments/aggarwal_table3.sh   each network is a task of an array; when all are done, the line above
# Called in the folder of this repository.
#
# Expected: on USPS the networks of small eps are better than the natural one; how USPS is laid out counts for more.
# Run: DATA=DIR experiments/aggarwal_table3.sh      (DIR/mnist and DIR/usps; arguments go to `cli.py fit`)
#SBATCH --array=0-8
#SBATCH --job-name=aggarwal_table3
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=1
#SBATCH --cpus-per-task=8
#SBATCH --time=12:00:00
#SBATCH --signal=B:USR1@120
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=slurm-%x-%a.log
SCRIPT=aggarwal_table3
source experiments/trained.sh

row natural --attack.train null
for eps in ${EPS-0.05 0.1 0.2 0.3}; do
  row "at$eps" --attack.train.constraint.eps "$eps"
  row "n$eps" --attack.train GaussianNoise --attack.train.std "$eps"
done
train mnist_at.yaml --data.root "$data/mnist" "$@"
for layout in frame margin mass; do
  test_as "usps_$layout" --config mnist_at.yaml --attack.evaluate null --data USPS --data.root "$data/usps" \
    --data.layout $layout
done
table --columns data
