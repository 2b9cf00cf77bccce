#!/usr/bin/env bash
# Figure 3 of Itazuri et al. 2019: the filters of the first layer, on one scale.
#
# Expected: those of the robust network are smaller, so paler.
# Run: experiments/itazuri_figure3.sh
source "$(dirname "$0")/common.sh"
classifiers
few=() JUDGE=
SAMPLES=1 paint FirstFilters "$@"
