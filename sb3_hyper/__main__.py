"""The command ``sb3-hyper``, and ``python -m sb3_hyper``."""

import sys


def main() -> int:
    """
    Run the command, or say what it needs.

    :return: Exit status.
    """
    try:
        from sb3_hyper import cli
    except ModuleNotFoundError as error:
        print(f'sb3-hyper needs {error.name}, which is not installed: pip install "sb3_hyper[zoo]"', file=sys.stderr)
        return 2
    return cli.main()


if __name__ == "__main__":
    sys.exit(main())
