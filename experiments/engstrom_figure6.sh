#!/usr/bin/env bash
# Figure 6 of Engstrom et al. 2019: an image's representation, matched from noise (eq. 5); IMAGES may be of any kind.
#
# Expected: with the robust network the image is recognised, also one of a class that it does not know; else noise.
# Run: experiments/engstrom_figure6.sh
source "$(dirname "$0")/common.sh"
classifiers
paint Inversion --task.start noise --task.steps "${STEPS:-1000}" "$@"
