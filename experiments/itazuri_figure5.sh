#!/usr/bin/env bash
# Figure 5 of Itazuri et al. 2019: accuracy of a robust and a standard network on images that are more and more blurred.
#
# Expected: both fall, and keep their distance: a blur takes all edges. See the page's chart by sigma.
# Run: experiments/itazuri_figure5.sh
#      (ROBUST=runs/alexnet_fgsm STANDARD=runs/alexnet_standard for the paper's networks, on their own test images)
source "$(dirname "$0")/common.sh"
classifiers
measure eval_transformations "$@"
