"""What `cli.py --help` says; the parsers behind it need torch, which would take ten seconds to say it."""

from jsonargparse import ActionConfigFile, ArgumentParser

DESCRIPTION = "Adversarial training and synthesis; `report` compares runs, `convert` weights."

CONFIG = "A config, by its path or by its name in configs/."

COMMANDS = {
    "fit": "Runs the full optimization routine.",
    "validate": "Perform one evaluation epoch over the validation set.",
    "test": "Perform one evaluation epoch over the test set. "
    "It's separated from fit to make sure you never run on your",
    "predict": "Run inference on your data. "
    "This will call the model forward function to compute predictions. Useful to",
}
"""The commands that need a Trainer, in Lightning's words: the first line of each method's docstring."""


def print_help() -> None:
    parser = ArgumentParser(description=DESCRIPTION)
    parser.add_argument("-c", "--config", action=ActionConfigFile, help=CONFIG)
    commands = parser.add_subcommands()
    for name, told in COMMANDS.items():
        commands.add_subcommand(name, ArgumentParser(), help=told)
    parser.print_help()
