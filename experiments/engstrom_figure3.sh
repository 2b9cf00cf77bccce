#!/usr/bin/env bash
# Figure 3 of Engstrom et al. 2019: what raises single units, from images (eq. 4).
#
# Expected: whatever the image, one unit of a robust network paints the same thing; of a standard one nothing is seen.
# Run: experiments/engstrom_figure3.sh
source "$(dirname "$0")/common.sh"
classifiers
paint FeatureVisualization --task.start image --task.features 4 --task.most 0 "$@"
