"""`python -m training.prove --output …`: does training learn what the captions say? Exits non-zero
where it does not.
"""

import sys

from jsonargparse import auto_cli

from training.prove.run import Prove, prove

if __name__ == "__main__":
    try:
        sys.exit(0 if prove(auto_cli(Prove)) else 1)
    except ValueError as error:
        sys.exit(f"error: {error}")
