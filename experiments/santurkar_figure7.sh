#!/usr/bin/env bash
# Figure 7 of Santurkar et al. 2019: drawings turned into pictures of a class.
#
# Expected: with the robust network the drawing's lines stay and the class's colours and textures fill them.
# Run: IMAGES=my_sketches TARGET=dog ROBUST=runs/restricted_imagenet experiments/santurkar_figure7.sh
source "$(dirname "$0")/common.sh"
classifiers
paint SketchToImage --task.target "${TARGET:-disc}" "$@"
