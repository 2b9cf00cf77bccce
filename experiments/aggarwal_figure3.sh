#!/usr/bin/env bash
# Figure 3 of Aggarwal et al. 2020: untargeted L2 attacks of large eps on a network that was trained against a small one.
#
# Expected: the robust network's pictures turn into other classes, the standard one's are noisy.
# Run: ROBUST=runs/restricted_imagenet_eps2 experiments/aggarwal_figure3.sh      (eps 2 in training; EPS=40 in the attack)
source "$(dirname "$0")/common.sh"
classifiers
JUDGE=
paint LargeEps --task.constraint "${EPS:-10}" --task.steps 50 --task.step_size 0.5 "$@"
