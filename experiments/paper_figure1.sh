#!/usr/bin/env bash
# Figure 1 of the paper: inpainting by segmentation networks (eq. 6), robust and standard.
#
# Expected: the robust network paints the missing colours and shapes, the standard one high-frequency patterns.
# Run: experiments/paper_figure1.sh      (ROBUST=runs/at50 STANDARD=runs/pre IMAGES=... for the paper's networks)
source "$(dirname "$0")/common.sh"
segmentation_networks
paint Inpainting --task.size 24 --task.constraint 20 --task.steps 60 --task.step_size 0.25 "$@"
