#!/usr/bin/env bash
# Figure 9 of Engstrom et al. 2019: the features that weighed most in right and in wrong decisions, accentuated (eq. 8).
#
# Expected: in wrong ones, what the robust network took for the class appears in the image.
# Run: experiments/engstrom_figure9.sh
source "$(dirname "$0")/common.sh"
classifiers
paint DecisionInsight "$@"
