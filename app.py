"""Starts the app: `python app.py --port 7860`. See `--help`."""

import sys

from unlearning.errors import UnlearningError
from unlearning.ui.app import main

if __name__ == "__main__":
    try:
        main()
    except UnlearningError as error:
        sys.exit(str(error))
