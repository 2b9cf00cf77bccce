#!/usr/bin/env bash
# Figure 10 of Itazuri et al. 2019, and 11 to 14: do sensitivity maps depend on the weights? Layers become random, from the
# output down (Adebayo et al. 2018).
#
# Expected: as layers become random every map changes; a method whose map does not is told.
# Run: experiments/itazuri_figure10.sh
source "$(dirname "$0")/common.sh"
classifiers
JUDGE=
[ -z "${SMALL:-}" ] || few=(--task.points 2)
methods="[vanilla, loss, guided, smoothgrad, integrated]"
paint SensitivityMaps --task.methods "$methods" --task.randomization 8 "$@"
