#!/usr/bin/env bash
# Figure 4 of Santurkar et al. 2019: inpainting by a classifier that knows the image's class (eq. 3).
#
# Expected: holes filled with what the class has there by the robust network, with noise by the standard one.
# Run: experiments/santurkar_figure4.sh
source "$(dirname "$0")/common.sh"
classifiers
paint Inpainting --task.size "${SIZE:-24}" "$@"
