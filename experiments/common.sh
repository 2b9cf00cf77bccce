# Sourced by the scripts of figures: which networks paint, on which pictures, and where the results go.
#
#   ROBUST, STANDARD, JUDGE   three runs: the first two paint, the third scores what it sees in the results. By default
#                             small networks on drawn shapes, which are trained first if they are not there, in minutes.
#                             For the figure itself give those of its paper, such as ROBUST=runs/restricted_imagenet.
#   IMAGES                    a folder of pictures to paint on; by default validation samples of the first run.
#   OUT                       where the results go: OUT/<script>/contact_sheet.png, or, of what is measured,
#                             OUT/<script>.html.
#   SMALL=1                   tiny networks and a few steps, to see in a minute whether it works.
set -euo pipefail

saddle=${SADDLE_COMMAND:-.venv/bin/python cli.py}
out=${OUT:-runs/figures}
name=$(basename "$0" .sh)
small=() few=()
if [ -n "${SMALL:-}" ]; then
  small=(--data.size 16 --data.train_samples 8 --data.val_samples 4 --data.batch_size 4 --trainer.max_epochs 1
    --trainer.check_val_every_n_epoch 1 --attack.train.steps 1 --attack.evaluate.pgd.steps 1)
  few=(--task.steps 2)
fi

# train NAME ARGUMENTS: a network on drawn shapes, unless it is there.
train() {
  [ -f "$out/runs/$1/results.json" ] || $saddle fit --config quickstart.yaml --runs "$out/runs" --ckpt_path last --name "$1" \
    --trainer.logger false --trainer.callbacks null "${small[@]}" "${@:2}"
}

# networks NAME ARGUMENTS: a robust one, a standard one, and a judge that was trained on other pictures.
networks() {
  if [ -z "${ROBUST:-}" ]; then
    train "$1" "${@:2}"
    train "$1_standard" "${@:2}" --attack.train null
    train "$1_judge" "${@:2}" --seed_everything 1 --data.seed 1
    ROBUST=$out/runs/$1 STANDARD=$out/runs/$1_standard JUDGE=$out/runs/$1_judge
  fi
}

classifiers() {
  networks classifier --data.labels class --model.network.name resnet_small --model.network.num_classes 4
}

segmentation_networks() {
  networks fcn
}

# paint TASK ARGUMENTS: with both networks, side by side.
paint() {
  local runs=(--run "$ROBUST") pictures=(--samples "${SAMPLES:-8}")
  [ -z "${STANDARD:-}" ] || runs+=(--run "$STANDARD")
  [ -z "${JUDGE:-}" ] || runs+=(--judge "$JUDGE")
  [ -z "${IMAGES:-}" ] || pictures=(--images "$IMAGES")
  $saddle paint "$1" "${runs[@]}" "${pictures[@]}" --out "$out/$name" "${@:2}" "${few[@]}"
}

# measure PROTOCOL ARGUMENTS: the test images with both networks, unless that is done; then side by side, with curves.
measure() {
  local run runs=()
  for run in "$ROBUST" ${STANDARD:+"$STANDARD"}; do
    runs+=("$out/runs/$(basename "$run")_$1")
    [ -f "${runs[-1]}/results.json" ] || $saddle test --config "$run/config.yaml" --config "$1.yaml" \
      --runs "$out/runs" --name "$(basename "$run")" --ckpt_path "$run/checkpoints/last.ckpt" --trainer.logger false "${@:2}"
  done
  $saddle report "${runs[@]}" --output "$out/$name.html"
}
