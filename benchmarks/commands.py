"""What a command costs before and beside its work.

Measured, each in a process of its own and in turns: `cli.py --help`, `report` of a run, `fit --print_config`, whose
floor is `import lightning.pytorch`, and `test` of a small network, with the share of it that is evaluation. In seconds
of processor time, which others on the machine disturb least; Python may keep its bytecode, as it does unless told
otherwise. Each number is the median over turns; the last line is `fit --print_config` over its floor.

    python benchmarks/commands.py            the network and the samples of the quickstart
    python benchmarks/commands.py --quick    one turn on four samples, to see that it runs
"""

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

CLI = str(Path(__file__).parent.parent / "cli.py")

TEST = ("--config", "quickstart.yaml", "--trainer.logger", "false", "--trainer.callbacks", "[evaluation_clock.Clock]")

COMMANDS = {
    "test": (CLI, "test", *TEST, "--trainer.enable_progress_bar", "false"),
    "import lightning.pytorch": ("-c", "import lightning.pytorch"),
    "fit --print_config": (CLI, "fit", "--config", "quickstart.yaml", "--print_config"),
    "--help": (CLI, "--help"),
    "report": (CLI, "report", "runs/quickstart_test"),
}


def cost(arguments: tuple[str, ...], folder: str) -> tuple[float, str]:
    """Run Python: seconds of processor time, and what it prints."""
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    environment |= {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parent)}
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [sys.executable, *arguments]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        sys.exit(f"{' '.join(arguments)}: {done.stderr}")
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, done.stdout


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one turn on four samples, to see that it runs")
    quick = parser.parse_args().quick
    turns = 1 if quick else 5
    small = ("--data.val_samples", "4", "--data.size", "32", "--sanity", "false") if quick else ()
    commands = COMMANDS | {"test": (*COMMANDS["test"], *small)}
    seconds: dict[str, list[float]] = {name: [] for name in commands}
    shares = []
    with tempfile.TemporaryDirectory() as folder:
        if not quick:
            cost(commands["fit --print_config"], folder)  # so that bytecode is kept, and files are in memory
        for _ in range(turns):
            for name, arguments in commands.items():
                spent, told = cost(arguments, folder)
                seconds[name].append(spent)
                if name == "test":
                    evaluation = float(told.partition("evaluation took ")[2].split()[0])
                    shares.append(evaluation / spent)
    for name, found in seconds.items():
        print(f"{name}: {statistics.median(found):.2f} s ({min(found):.2f} to {max(found):.2f})")
    print(f"of test is evaluation: {statistics.median(shares):.0%}")
    least, whole = seconds["import lightning.pytorch"], seconds["fit --print_config"]
    print(f"ratio {statistics.median(b / a for a, b in zip(least, whole, strict=True)):.3f}")


if __name__ == "__main__":
    main()
