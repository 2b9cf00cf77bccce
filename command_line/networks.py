"""The networks that a config names, those inside of others included."""

from typing import Any

from jsonargparse import Namespace


def network_options(section: Any) -> list[dict[str, Any]]:
    """The arguments of each `lightning_modules.Network` in a section of a config, at any depth; to be changed in place.

    Args:
        section: plain containers, or what a parser makes of them.
    """
    content = vars(section) if isinstance(section, Namespace) else section
    if isinstance(content, list):
        return [options for each in content for options in network_options(each)]
    if not isinstance(content, dict):
        return []
    options = content.get("init_args")
    own = vars(options) if isinstance(options, Namespace) else options
    if content.get("class_path") == "lightning_modules.Network":
        return [own] if isinstance(own, dict) else []
    return [found for each in (own or {}).values() for found in network_options(each)] if isinstance(own, dict) else []


def leave_out_weights(section: Any) -> None:
    """Take the weights that training starts from out of a section: where a checkpoint has all, they may be gone."""
    for options in network_options(section):
        options["weights"] = options["backbone_weights"] = None
