#!/usr/bin/env bash
# Figure 2 of Engstrom et al. 2019: an image whose standard representation is that of another, though it looks the same.
#
# Expected: within a small ball the standard network's distance falls to nearly 0, the robust one's hardly.
# Run: experiments/engstrom_figure2.sh
source "$(dirname "$0")/common.sh"
classifiers
paint Inversion --task.start image --task.constraint "${EPS:-1}" --task.steps 200 --task.step_size 0.05 "$@"
