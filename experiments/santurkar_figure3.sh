#!/usr/bin/env bash
# Figure 3 of Santurkar et al. 2019: pictures of each class from seeds of its Gaussian; Figure 17 are the seeds.
#
# Expected: varied pictures of the class from the robust network; the standard one leaves the seeds what they are.
# Run: experiments/santurkar_figure3.sh      (the column `start` of the contact sheet holds the seeds)
source "$(dirname "$0")/common.sh"
classifiers
paint Generation "$@"
