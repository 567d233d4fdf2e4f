"""`cftransfer COMMAND …`, and `python -m cftransfer COMMAND …`: all commands of the package."""

import importlib
import sys

from cftransfer import cores
from cftransfer.errors import print_in_any_encoding

COMMANDS = {
    "transfer": ("cftransfer.commands.transfer", "search counterfactuals and ask reference models; -m sweeps"),
    "train": ("cftransfer.commands.train", "put the models of one pool into the store"),
    "report": ("cftransfer.report.__main__", "make the report of any job folders"),
    "boundary": ("cftransfer.commands.boundary", "draw decision regions in two dimensions"),
    "study": ("cftransfer.report.study", "repeat one of the paper's two studies"),
    "store": ("cftransfer.store.__main__", "look at, check and shrink a store"),
    "validate": ("cftransfer.validate.__main__", "check the library against closed forms and published numbers"),
    "tracking": ("cftransfer.tracking.__main__", "upload W&B runs; make a dashboard"),
}


def main() -> None:
    """Run the command named by the first word with the remaining words."""
    cores.wait_passively()
    print_in_any_encoding()
    words = sys.argv[1:]
    if not words or words[0] in ("-h", "--help"):
        print("usage: cftransfer COMMAND …\n\nDoes a counterfactual found on one model still hold on another?\n")
        print("\n".join(f"  {name:10}{about}" for name, (_, about) in COMMANDS.items()))
        print("\n`cftransfer COMMAND --help` lists the options of each.")
        sys.exit(0 if words else 2)
    if words[0] not in COMMANDS:
        sys.exit(f"cftransfer: {words[0]}: no such command; there are: {', '.join(COMMANDS)}")
    sys.argv = [f"cftransfer {words[0]}", *words[1:]]
    importlib.import_module(COMMANDS[words[0]][0]).command()


if __name__ == "__main__":
    main()
