#!/usr/bin/env bash
# Figure 9 of Itazuri et al. 2019, on the sets of its Table 3: what standard and robust networks are worth on other data.
#
# Expected: ADV+ADV ahead of STD+STD on small images, behind it on large ones; STD+ADV near the best of them everywhere.
# Run: STD=std.pt STD2=std_2.pt ADV=adv.pt ADV2=adv_2.pt CIFAR10=DIR CUB200=DIR experiments/itazuri_figure9.sh
#
# One run after the other, then the table; called again, it goes on. `sbatch experiments/itazuri_figure9.sh` makes each
# run a task of an array; when all are done, the line above makes the table. Called in the folder of this repository;
# arguments go to `cli.py fit`.
#
#   STD, STD2, ADV, ADV2   weights of two standard and two adversarially trained networks, of other seeds: published
#                          ones, or a run's checkpoints/last.ckpt. What needs one that is not given is left out.
#   SVHN, CIFAR10, CIFAR100, TINYIMAGENET, STL10, FOOD101, FLOWERS102, STANFORDDOGS, CUB200, IMAGENET
#                          their folders; a set that is not given is left out.
#   NETWORK, SIZE, SEEDS   the architecture (resnet50), the side of its images (224), and "0 1 2".
#   OUT                    where the runs go: OUT/itazuri_figure9/<set>/<networks>_seed<k>.
#SBATCH --array=0-149
#SBATCH --job-name=itazuri_figure9
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=1
#SBATCH --cpus-per-task=8
#SBATCH --time=12:00:00
#SBATCH --signal=B:USR1@120
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=slurm-%x-%a.log
set -euo pipefail

network=${NETWORK:-resnet50} size=${SIZE:-224} out=${OUT:-runs}/itazuri_figure9
sets="SVHN:10 CIFAR10:10 CIFAR100:100 TinyImageNet:200 STL10:10 Food101:101 Flowers102:102 StanfordDogs:120 CUB200:200
  ImageNet:1000"

rows=()
for set in $sets; do
  folder=${set%:*} && folder=${folder^^}
  [ -n "${!folder:-}" ] || { echo "${set%:*}: left out; $folder=DIR takes it in" >&2; continue; }
  for networks in STD ADV STD+STD2 STD+ADV ADV+ADV2; do
    for each in ${networks/+/ }; do
      [ -n "${!each:-}" ] || { echo "${set%:*}: $networks: left out; there is no $each=FILE" >&2; continue 2; }
    done
    for seed in ${SEEDS:-0 1 2}; do
      rows+=("$set $networks $seed")
    done
  done
done
[ ${#rows[@]} -gt 0 ] || { echo "nothing to train: give weights and sets, as the head of $0 says" >&2; exit 2; }

# arguments SET:CLASSES NETWORKS SEED: the config and what `fit` is given.
arguments() {
  local set=${1%:*} classes=${1#*:} first=${2%+*} second=${2#*+} name=${2//2/}
  local folder=${set^^}
  config=transfer.yaml
  args=(--model.network.num_classes "$classes" --data "$set" --data.root "${!folder}")
  case $set in
    SVHN | CIFAR10* | STL10) args+=(--data.size "$size" --data.padding $((size / 8))) ;;
    TinyImageNet) args+=(--data.crop "$size" --data.resize "$size") ;;
    *) args+=(--data.crop "$size" --data.resize $((size * 8 / 7))) ;;
  esac
  if [ "$first" = "$second" ]; then
    args+=(--model.network.name "$network" --model.network.backbone_weights "${!first}")
  else
    config=transfer_fusion.yaml
    args+=(--model.network.networks.0.name "$network" --model.network.networks.0.backbone_weights "${!first}"
      --model.network.networks.1.name "$network" --model.network.networks.1.backbone_weights "${!second}")
  fi
  args+=(--runs "$out/$set" --name "${name}_seed$3" --seed_everything "$3" --ckpt_path last)
}

if [ -n "${SLURM_ARRAY_TASK_ID:-}" ]; then
  row=${rows[$SLURM_ARRAY_TASK_ID]:-}
  [ -n "$row" ] || { echo "task $SLURM_ARRAY_TASK_ID: there are ${#rows[@]} runs" && exit; }
  arguments $row
  exec slurm/train.sbatch "$config" "${args[@]}" "$@"
fi
saddle=${SADDLE_COMMAND:-.venv/bin/python cli.py}
for row in "${rows[@]}"; do
  arguments $row
  $saddle fit --config "$config" "${args[@]}" "$@"
done
$saddle report --seeds --columns data "$out"/*/*/
