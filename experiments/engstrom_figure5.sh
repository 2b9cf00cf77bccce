#!/usr/bin/env bash
# Figure 5 of Engstrom et al. 2019: an image's representation, matched from another image (eq. 5).
#
# Expected: with the robust network the result looks like the image whose representation it has, else like the start.
# Run: experiments/engstrom_figure5.sh
source "$(dirname "$0")/common.sh"
classifiers
paint Inversion --task.start image --task.steps "${STEPS:-1000}" "$@"
