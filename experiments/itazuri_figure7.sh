#!/usr/bin/env bash
# Figure 7 of Itazuri et al. 2019: accuracy of a robust and a standard network on images under the median filter.
#
# Expected: the robust network overtakes the standard one: the filter takes weak edges only. See the chart by passes.
# On drawn shapes the standard one's curve is a zigzag: each pass inverts stripes of a pixel, a texture it looks at.
# Run: experiments/itazuri_figure7.sh
#      (ROBUST=runs/alexnet_fgsm STANDARD=runs/alexnet_standard for the paper's networks, on their own test images)
source "$(dirname "$0")/common.sh"
classifiers
measure eval_transformations "$@" # as for Figure 5: what that has measured is not measured again
