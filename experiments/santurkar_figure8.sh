#!/usr/bin/env bash
# Figure 8 of Santurkar et al. 2019: features painted one after the other, each in a place of its own (eq. 5).
#
# Expected: the robust network paints in each place what the unit stands for. Look units up with engstrom_figure4.sh.
# Run: experiments/santurkar_figure8.sh      (UNITS="[768, 675, 1349]" are the authors', of their network)
source "$(dirname "$0")/common.sh"
classifiers
paint FeaturePainting --task.features "${UNITS:-[3, 40, 77]}" --task.size 24 \
  --task.places "[[0.1, 0.1], [0.9, 0.1], [0.5, 0.9]]" "$@"
