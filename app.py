"""Reads the flags, builds the page, launches it."""

import argparse
import os
import sys

from llmdemo.core.errors import UserError
from llmdemo.core.leaving import leave_in_order
from llmdemo.settings import Settings


def arguments(argv: list[str] | None = None) -> argparse.Namespace:
    """The command line's flags."""
    parser = argparse.ArgumentParser(description="Fine-tune a language model with GaLore, then compare how it decodes.")
    # Hosts such as Hugging Face Spaces say through Gradio's own variables where the page has to be.
    host, port = os.environ.get("GRADIO_SERVER_NAME", "127.0.0.1"), os.environ.get("GRADIO_SERVER_PORT", "7860")
    parser.add_argument("--host", default=host, help="address to listen on (default: %(default)s)")
    parser.add_argument("--port", type=int, default=port, help="port to listen on (default: %(default)s)")
    parser.add_argument("--share", action="store_true", help="also open a public link through Gradio's servers")
    parser.add_argument(
        "--auth", metavar="USER:PASSWORD", action="append", default=[], help="an owner's login; may be repeated"
    )
    parser.add_argument(
        "--auth-file",
        metavar="FILE",
        default=os.environ.get("LLMDEMO_AUTH_FILE"),
        help="owners' logins with hashed passwords, a line each (--hash-password makes one)",
    )
    parser.add_argument("--hash-password", action="store_true", help="ask for a login, print its line, and end")
    return parser.parse_args(argv)


def hash_password() -> int:
    """Asks for a name and a password on the terminal; prints the line for the accounts file."""
    import getpass

    from llmdemo.access import passwords

    name = passwords.checked_name(input("Name: ").strip())
    password = getpass.getpass()
    if password != getpass.getpass("Once more: "):
        raise UserError("The two passwords differ.", "Try again.")
    print(f"{name}:{passwords.hash_password(password)}")
    return 0


def main(argv: list[str] | None = None) -> int:
    """Serves the page until it is interrupted; 0 after that, 2 when it could not start."""
    flags = arguments(argv)
    try:
        if flags.hash_password:
            return hash_password()
        from llmdemo.ui.launch import serve

        serve(
            Settings.from_env(),
            flags.host,
            flags.port,
            share=flags.share,
            auth=flags.auth,
            auth_file=flags.auth_file,
        )
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    leave_in_order(main())
