#!/usr/bin/env bash
# Figure 8 of Engstrom et al. 2019: a feature added to images until it leads their representation (eq. 7).
#
# Expected: the robust network adds the feature and keeps the image.
# Run: experiments/engstrom_figure8.sh      (UNITS="[7, 12]" takes others)
source "$(dirname "$0")/common.sh"
classifiers
paint FeatureAddition --task.features "${UNITS:-[3, 40]}" "$@"
