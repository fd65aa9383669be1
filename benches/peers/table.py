#!/usr/bin/env python3
"""One table of the records that are named; benches/peers/run.sh ends with it."""

import json
import sys
from pathlib import Path

from common import table

records = [json.loads(Path(name).read_text()) for name in sys.argv[1:] if Path(name).exists()]
print(table([result for record in records for result in record["results"]]))
