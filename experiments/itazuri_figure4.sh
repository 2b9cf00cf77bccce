#!/usr/bin/env bash
# Figure 4 of Itazuri et al. 2019: what raises the filters of deeper layers, from noise (eq. 10).
#
# Expected: larger structures from the robust network, small coloured clutter from the standard one.
# Run: experiments/itazuri_figure4.sh      (LAYER=model.layer3 takes another, FILTERS="[3, 40]" these filters)
source "$(dirname "$0")/common.sh"
classifiers
SAMPLES=1 paint LayerVisualization --task.layer "${LAYER:-model.backbone.2}" --task.filters "${FILTERS:-8}" "$@"
