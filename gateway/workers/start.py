"""The program that a parent starts for each worker. Its standard input brings where modules are found, then the rest.

The parent may itself have been started in any way, so its own places are the ones to look in.
"""

import json
import signal
import sys

if __name__ == "__main__":
    # Told before it listens to signals it just ends, as its parent expects, and without a traceback.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    sys.path[:] = json.loads(sys.stdin.buffer.readline())
    from gateway.workers.child import main

    sys.exit(main())
