#!/usr/bin/env bash
# Table 1 of Itazuri et al. 2019: accuracy of a robust and a standard network, clean and under the attack of training.
#
# Expected: the robust network loses a part of its clean accuracy, and keeps most of the rest under attack.
# Run: experiments/itazuri_table1.sh
#      (ROBUST=runs/alexnet_fgsm STANDARD=runs/alexnet_standard for the paper's networks, on their own test images)
source "$(dirname "$0")/common.sh"
classifiers
measure eval_table1 "$@"
