#!/usr/bin/env bash
# Figure 5 of Santurkar et al. 2019: each image turned into another domain, such as horses into zebras.
#
# Expected: the robust network changes what makes the class (colour, texture, stripes), the standard one adds noise.
# Run: ROBUST=runs/h2z_at STANDARD=runs/h2z_standard experiments/santurkar_figure5.sh      (see configs/h2z_at.yaml)
source "$(dirname "$0")/common.sh"
target=()
[ -n "${ROBUST:-}" ] || target=(--task.target "${TARGET:-disc}")
classifiers
paint Translation "${target[@]}" "$@"
