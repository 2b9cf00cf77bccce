#!/usr/bin/env bash
# Figure 4 of Aggarwal et al. 2020: where a network looks, and the box that follows from it, in green.
#
# Expected: around the object, closer with the robust network. With the true boxes, in red, it is in the galleries of
#   aggarwal_table4.sh.
# Run: experiments/aggarwal_figure4.sh
source "$(dirname "$0")/common.sh"
classifiers
few=() JUDGE=
paint Localization "$@"
