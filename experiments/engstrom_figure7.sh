#!/usr/bin/env bash
# Figure 7 of Engstrom et al. 2019: from one image to another by way of the representation (eq. 6).
#
# Expected: with the robust network one thing turns into the other; with the standard one they fade (`strip`).
# Run: experiments/engstrom_figure7.sh
source "$(dirname "$0")/common.sh"
classifiers
paint Interpolation --task.points 5 --task.steps "${STEPS:-1000}" "$@"
