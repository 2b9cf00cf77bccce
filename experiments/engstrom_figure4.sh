#!/usr/bin/env bash
# Figure 4 of Engstrom et al. 2019: what raises single units, from grey, beside the images that do so most and least.
#
# Expected: what the robust network paints for a unit is seen in the images that activate it most.
# Run: experiments/engstrom_figure4.sh      (UNITS=12 takes so many, UNITS="[3, 40]" these)
source "$(dirname "$0")/common.sh"
classifiers
paint FeatureVisualization --task.start grey --task.features "${UNITS:-8}" --task.steps 1500 --task.step_size 0.5 "$@"
