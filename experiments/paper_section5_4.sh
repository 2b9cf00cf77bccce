#!/usr/bin/env bash
# Section 5.4 of the paper asks whether the gradient itself can be trained: networks without any attack in training, but
# with losses on their input gradients, beside the robust and the standard network.
#
# Expected: gradients that are aligned, and some robustness, less than by adversarial training; see docs/insight.md.
# Run: experiments/paper_section5_4.sh      (on drawn shapes, label maps; arguments go to `cli.py fit`)
# NETWORKS="robust norm" takes some of them. PROTOCOL=eval_table1 measures with three steps of PGD; SEA's 900 take an hour.
source "$(dirname "$0")/common.sh"
protocol=${PROTOCOL:-eval_sea}
declare -A training=(
  [robust]=""
  [standard]="--attack.train null"
  [aligned]="--attack.train null --model.loss GradientAlignment"
  [mean]="--attack.train null --model.loss GradientAlignment --model.loss.towards mean"
  [norm]="--attack.train null --model.loss GradientNorm --model.loss.weight 30"
)
[ -z "${SMALL:-}" ] || set -- --trainer.callbacks.samples 2 --trainer.callbacks.among 0 "$@"
train gradient_judge --seed_everything 1 --data.seed 1
runs=() painters=()
for network in ${NETWORKS:-robust standard aligned mean norm}; do
  run=$out/runs/gradient_$network
  train "gradient_$network" ${training[$network]} --trainer.callbacks+=Alignment "$@"
  runs+=("${run}_$protocol") painters+=(--run "$run")
  [ -f "${run}_$protocol/results.json" ] || $saddle test --config "$run/config.yaml" --config "$protocol.yaml" --attack.eps 0.06 \
    --runs "$out/runs" --name "gradient_$network" --ckpt_path "$run/checkpoints/last.ckpt" --trainer.logger false
done
$saddle report "${runs[@]}" --output "$out/$name.html"
$saddle paint Inpainting "${painters[@]}" --judge "$out/runs/gradient_judge" --samples "${SAMPLES:-8}" --out "$out/$name" \
  --task.size 24 --task.constraint 20 --task.steps 60 --task.step_size 0.25 "${few[@]}"
