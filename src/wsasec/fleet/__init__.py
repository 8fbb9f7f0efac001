"""More sockets than one process can have: worker processes with a `SocketBatch` each, and one start for all.

def traffic(batch, index, address):              # runs in each worker
    return batch.connect([address], timeout=30)

if __name__ == "__main__":                       # the workers import this script, too
    with Fleet(100_000, nodelay=True) as fleet:  # made and secured
        result = fleet.run(traffic, ("10.0.0.2", 5000))
    print(result.sockets, result.seconds, result.histograms)

The workers are fresh interpreters, as multiprocessing's method "spawn" makes them, but without its resource
tracker, which would outlive the fleet and keep the network namespace alive. They live in the network
namespace of the thread that makes the `Fleet`.
"""

import sys

if sys.platform == "win32":
    raise ImportError("wsasec.fleet is for Linux: on Windows one process has room for all sockets")

from .fleet import Fleet
from .results import FleetError, FleetResult, WorkerFailure, WorkerResult

__all__ = ["Fleet", "FleetError", "FleetResult", "WorkerFailure", "WorkerResult"]
