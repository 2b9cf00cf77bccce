#!/usr/bin/env bash
# Figure 2 of Santurkar et al. 2019: each image turned towards several classes by targeted PGD.
#
# Expected: with the robust network the results look like the classes, with the standard one like the image.
# Run: experiments/santurkar_figure2.sh      (CLASSES="0 1 2" takes others)
source "$(dirname "$0")/common.sh"
classifiers
for class in ${CLASSES:-0 1 2 3}; do
  name=santurkar_figure2/class_$class
  paint Translation --task.target "$class" --task.constraint 40 --task.steps 60 --task.step_size 1 "$@"
done
