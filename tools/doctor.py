"""Says what is installed, what is adapted, what is missing and how to fix it.

Exit status 1 when something that is needed is missing.
"""

import argparse
import sys
import types
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent.parent / 'aerialkd'


def main() -> int:
    """Runs aerialkd.doctor, also where aerialkd itself cannot be imported."""
    argparse.ArgumentParser(description=__doc__).parse_args()
    # A bare package: its modules can be imported without running __init__.py, which
    # needs all of the packages that may be missing.
    bare = types.ModuleType('aerialkd')
    bare.__path__ = [str(PACKAGE)]
    sys.modules['aerialkd'] = bare

    from aerialkd import doctor

    return doctor.main()


if __name__ == '__main__':
    sys.exit(main())
