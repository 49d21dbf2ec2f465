"""When this command began: imported before anything that takes time to import."""

import time

STARTED = time.monotonic()
