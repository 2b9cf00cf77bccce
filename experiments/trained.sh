# Sourced by the scripts of tables: networks trained by one config, tested on other data, and put side by side.
#
#   DATA      where the data sets lie: DATA/mnist, DATA/usps, DATA/svhn, DATA/cifar10; by default data
#   EPS       radii of training instead of the paper's; EPS="" takes the natural network alone
#   SEEDS     by default 0; with several, a number is their mean and deviation
#   OUT       where the runs go, by default runs/<script>
#   SMALL=1   two batches of each set and a small network, to see in a minute whether it works
#
# Called again, a script goes on where it stopped. As an array of SLURM each network is a task; when all are trained, the
# script without SLURM tests them and makes the table.
set -euo pipefail

saddle=${SADDLE_COMMAND:-.venv/bin/python cli.py}
out=${OUT:-runs/$(basename "${SCRIPT:-$0}" .sh)}
data=${DATA:-data}
seeds=${SEEDS:-0}
rows=() few=()
if [ -n "${SMALL:-}" ]; then
  few=(--trainer.logger false --trainer.limit_train_batches 2 --trainer.limit_val_batches 2 --trainer.limit_test_batches 2
    --trainer.max_epochs 1 --trainer.check_val_every_n_epoch 1 --data.batch_size 4 --data.eval_batch_size 4)
fi

# row NAME ARGUMENTS: a network to train with each seed, given what differs from the config.
row() {
  for seed in $seeds; do
    rows+=("--name ${1}_seed$seed --seed_everything $seed ${*:2}")
  done
}

# train CONFIG ARGUMENTS: all networks of the rows, or that of this task alone.
train() {
  local task config=$1
  for task in "${rows[@]}"; do
    [ -z "${SLURM_ARRAY_TASK_ID:-}" ] || task=${rows[$SLURM_ARRAY_TASK_ID]}
    local all=(--runs "$out" --ckpt_path last $task "${@:2}" "${few[@]}")
    [ -z "${SLURM_ARRAY_TASK_ID:-}" ] || exec slurm/train.sbatch "$config" "${all[@]}"
    $saddle fit --config "$config" "${all[@]}"
  done
}

# test_as SUFFIX ARGUMENTS: what `cli.py test` says of each network, in <network>_SUFFIX_test, unless it is there.
test_as() {
  local checkpoint name
  for checkpoint in "$out"/*_seed*/checkpoints/last.ckpt; do
    name=$(basename "$(dirname "$(dirname "$checkpoint")")")
    if [ ! -f "$out/${name}_${1}_test/results.json" ]; then
      $saddle test --runs "$out" --name "${name}_$1" --ckpt_path "$checkpoint" "${@:2}" "${few[@]}"
    elif [ "$checkpoint" -nt "$out/${name}_${1}_test/results.json" ]; then
      echo "$out/${name}_${1}_test is older than its network; remove it, and this script tests anew" >&2
      exit 1
    fi
  done
}

# table ARGUMENTS: what `cli.py report` says of all runs.
table() {
  local over=()
  [ "$(wc -w <<<"$seeds")" -eq 1 ] || over=(--seeds)
  $saddle report "$@" "${over[@]}" "$out"/*/
}
