#!/usr/bin/env bash
# Figure 2 of the paper: inpainting depends on where the hole is; the same pictures with holes at four places.
#
# Expected: what lies at a place decides whether it is painted plausibly: parts of shapes are, plain background always.
# Run: experiments/paper_figure2.sh
source "$(dirname "$0")/common.sh"
segmentation_networks
paint Inpainting --task.size 24 --task.constraint 20 --task.steps 60 --task.step_size 0.25 \
  --task.places "[[0.2, 0.2], [0.2, 0.8], [0.8, 0.2], [0.8, 0.8]]" "$@"
