#!/usr/bin/env bash
# Figure 3 of the paper: whole pictures from label maps (eq. 7); the network does not see the original.
#
# Expected: shapes in about their colours from the robust network, texture from the standard one.
# Run: experiments/paper_figure3.sh
source "$(dirname "$0")/common.sh"
segmentation_networks
paint Generation --task.constraint 30 --task.steps 60 --task.step_size 0.5 "$@"
