#!/usr/bin/env bash
# Table 1 of the paper: accuracy and mIoU of four networks, clean and under PGD.
#
# Expected: on COCO, robust accuracy of AT-50 and AT-101 far above that of Pre and RB.
# Run: DATA=DIR experiments/paper_table1.sh      (with runs/pre, rb, at50, at101; DIR holds COCO)
source "$(dirname "$0")/common.sh"
if [ -n "${DATA:-}" ]; then
  for run in pre rb at50 at101; do
    $saddle test --config "$run.yaml" --config eval_table1.yaml --ckpt_path last --data.root "$DATA" "$@"
  done
  $saddle report runs/{pre,rb,at50,at101}_eval_table1
else
  segmentation_networks
  for run in fcn fcn_standard; do
    $saddle test --config quickstart.yaml --config eval_table1.yaml --runs "$out/runs" --name "$run" --ckpt_path last \
      --trainer.logger false "${small[@]}" "$@"
  done
  $saddle report "$out"/runs/fcn{,_standard}_eval_table1
fi
