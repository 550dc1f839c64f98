"""`python -m llmdemo.training.launch OPTIONS -m MODULE ARGUMENTS`: what `accelerate launch` does for one process, in that process.

accelerate's launcher turns its options into environment variables, starts the module as a process of its own, and waits
for it with torch imported: two CPU seconds before each run's first word, and 230 MB until its last. Here the options are
read and the variables are made by accelerate's own functions, and the module is run where torch is already. Several
processes need the launcher itself (runs/command.py).
"""

import os
import runpy
import sys

from accelerate.commands.launch import launch_command_parser
from accelerate.utils import prepare_simple_launcher_cmd_env


def main(argv: list[str]) -> None:
    """Runs the module as `__main__`; SystemExit is the module's own. Ends with argparse's 2 for unknown options."""
    options = launch_command_parser().parse_args(argv)
    options.use_cpu = options.cpu  # which its launcher would look up in the user's `accelerate config`
    os.environ.update(prepare_simple_launcher_cmd_env(options)[1])
    sys.argv = [options.training_script, *options.training_script_args]
    runpy.run_module(options.training_script, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main(sys.argv[1:])
