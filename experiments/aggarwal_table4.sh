#!/usr/bin/env bash
# Table 4 of Aggarwal et al. 2020: objects found by classifiers that never saw a box, and the Figure 4 of each run.
#
# Expected: on birds, AT of small eps finds more than the natural network, and that no more than a box in the middle.
# Run: DATA=DIR experiments/aggarwal_table4.sh      (DIR holds CUB_200_2011/; arguments go to `cli.py fit`)
# Without DATA: networks on drawn shapes; eps up to that of `quickstart.yaml`.
source "$(dirname "$0")/common.sh"
if [ -n "${DATA:-}" ]; then
  all=(fit --config cub200_at.yaml --runs "$out/runs" --ckpt_path last --data.root "$DATA")
  $saddle "${all[@]}" --name cub200_natural --attack.train null "$@"
  for k in 0.5 1 2; do
    step=$(awk "BEGIN { print $k / 4 }")
    $saddle "${all[@]}" --name "cub200_at$k" --attack.train.constraint.eps "$k/255" --attack.train.step_size "$step/255" "$@"
  done
  $saddle report "$out"/runs/cub200_{natural,at0.5,at1,at2}
else
  locate=(--data.labels class --model.network.name resnet_small --model.network.num_classes 4
    --trainer.callbacks+=Localization --trainer.callbacks.heatmaps "[gradient,cam]" --trainer.callbacks.every_n_epochs 1000)
  train located_natural "${locate[@]}" --attack.train null "$@"
  for eps in 0.02 0.04 0.06; do
    train "located_at$eps" "${locate[@]}" --attack.train.constraint.eps "$eps" "$@"
  done
  $saddle report "$out"/runs/located_{natural,at0.02,at0.04,at0.06}
fi
