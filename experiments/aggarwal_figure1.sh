#!/usr/bin/env bash
# Figure 1 of Aggarwal et al. 2020: the gradient of the loss at images, as a picture.
#
# Expected: the robust network's shows the object, the standard one's noise.
# Run: experiments/aggarwal_figure1.sh
source "$(dirname "$0")/common.sh"
classifiers
few=() JUDGE=
paint GradientPictures "$@"
