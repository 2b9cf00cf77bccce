#!/usr/bin/env bash
# Figure 2 of Aggarwal et al. 2020: attacks with a large eps let another class appear.
#
# Expected: the robust network's results look like another class, the standard one's like noise over the image.
# Run: experiments/aggarwal_figure2.sh
source "$(dirname "$0")/common.sh"
classifiers
paint LargeEps "$@"
