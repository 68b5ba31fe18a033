"""One rank that all-reduces 4 MB with Open MPI until a rank dies; ULFM mends the communicator.

ULFM ("User-Level Failure Mitigation", MPI Forum) reports a dead peer as an error; `Revoke` gets
every rank out of the collective, `Shrink` agrees on the survivors and gives them a communicator.
"""

import numpy as np
from mpi4py import MPI

from labkit.bench.peers.say import live, say

FLOATS = 1_000_000  # 4 MB
WARM_UP = 5

if __name__ == "__main__":
    live()
    comm: MPI.Intracomm = MPI.COMM_WORLD.Dup()
    for handle in (MPI.COMM_WORLD, comm):
        handle.Set_errhandler(MPI.ERRORS_RETURN)
    rank = comm.Get_rank()
    ones, total = np.ones(FLOATS, np.float32), np.empty(FLOATS, np.float32)
    for _ in range(WARM_UP):
        comm.Allreduce(ones, total)
    say("stepping", rank=rank)
    try:
        while True:
            comm.Allreduce(ones, total)
    except MPI.Exception as error:
        say("out", rank=rank, error=str(error)[:80])
        comm.Revoke()
        comm = MPI.Intracomm(comm.Shrink())
        comm.Set_errhandler(MPI.ERRORS_RETURN)
        comm.Allreduce(ones, total)
        say("recovered", rank=rank, size=comm.Get_size(), right=bool(total[0] == comm.Get_size()))
