#!/usr/bin/env bash
# wandb 0.31.0, offline: what a process logged in the seconds before it is killed is lost, though another process writes it.
#
# Met with: runs on a cluster that end without a warning, whose offline dashboards miss their last rows; short ones are empty.
# One would expect: rows that `log` has handed to wandb-core, a process of its own which lives on, are in the file.
# Seen: wandb-core writes to the disk every 15 seconds, and ends without writing when the process that it serves is gone.
#   With the interval (undocumented, WANDB__TRANSACTION_LOG_FLUSH_INTERVAL) at a fifth of a second all are there.
# Fails if that has changed.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install --quiet --disable-pip-version-check wandb==0.31.0
cd "$place"
cat >log.py <<'PYTHON'
import os
import signal
import time

import wandb

run = wandb.init(project="finding", mode="offline")
for step in range(10):
    run.log({"loss": 1 / (step + 1)})
time.sleep(3)
os.kill(os.getpid(), signal.SIGKILL)
PYTHON

rows() { # of a run that is killed three seconds after its tenth
  rm -rf wandb
  (env WANDB_SILENT=true "$@" "$place/venv/bin/python" log.py) 2>/dev/null || true
  sleep 5
  "$place/venv/bin/wandb" leet inspect --json wandb/offline-run-* 2>/dev/null | grep -c '"type": *"history"' || true
}

"$place/venv/bin/python" -c "import wandb; print('wandb', wandb.__version__)"
found="$(rows A=1) $(rows WANDB__TRANSACTION_LOG_FLUSH_INTERVAL=0.2)"
echo "rows of 10 in the file, as it is and with the interval: $found; expected 10 10"
[ "$found" = "0 10" ] || { echo "this has changed"; exit 1; }
