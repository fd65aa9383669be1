#!/usr/bin/env python3
"""For run.sh: the record's path, by default that of the first argument, and whether files are named (`given` or `none`), a line each."""

import sys

from common import parser

arguments = parser(__doc__).parse_args(sys.argv[2:])
print(arguments.record or sys.argv[1])
print("given" if arguments.paths else "none")
