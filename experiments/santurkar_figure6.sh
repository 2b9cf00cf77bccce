#!/usr/bin/env bash
# Figure 6 of Santurkar et al. 2019: super-resolution (eq. 4), beside bicubic interpolation, with PSNR.
#
# Expected: sharper than bicubic where the class matters; the paper gains 0.2 dB of PSNR on restricted ImageNet.
# Run: experiments/santurkar_figure6.sh      (FACTOR=8, as in the paper, on images of 224 pixels)
source "$(dirname "$0")/common.sh"
classifiers
paint SuperResolution --task.factor "${FACTOR:-4}" --task.constraint "${EPS:-3}" --task.step_size 0.2 "$@"
