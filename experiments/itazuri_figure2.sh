#!/usr/bin/env bash
# Figure 2 of Itazuri et al. 2019: what in an image the label's logit, and the loss, depend on.
#
# Expected: vanilla and loss show the object for the robust network, noise for the standard one; guided shows it for both,
# but fine texture for the standard one alone.
# Run: experiments/itazuri_figure2.sh
source "$(dirname "$0")/common.sh"
classifiers
few=() JUDGE=
paint SensitivityMaps "$@"
