"""A link over an mpi4py communicator, for ranks that `mpiexec` or `srun` started."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from labkit.collectives.link import Link, Message, raw
from labkit.collectives.polling import poll

if TYPE_CHECKING:
    from mpi4py import MPI


class MpiLink(Link):
    """Messages are bytes: MPI moves any type, and the arithmetic is the algorithm's.

    The waits poll, so that `abandon` works. Without fault tolerance (`mpiexec --with-ft ulfm`) the
    death of a rank ends the whole job before anyone can abandon anything.
    """

    def __init__(self, comm: MPI.Comm, members: Sequence[int] | None = None) -> None:
        super().__init__(comm.Get_rank(), comm.Get_size(), members)
        self.comm = comm
        self.left_behind: list[_Requests] = []

    def _start(self, sends: Sequence[Message], receives: Sequence[Message]) -> _Requests:
        requests = [self.comm.Irecv(raw(t).numpy(), source) for t, source in receives]
        requests += [self.comm.Isend(raw(t).numpy(), to) for t, to in sends]
        return _Requests(self, requests)


class _Requests:
    """Open requests; each keeps its buffer alive."""

    def __init__(self, link: MpiLink, requests: list[MPI.Request]) -> None:
        self.link, self.requests = link, requests

    def wait(self) -> None:
        from mpi4py import MPI

        try:
            poll(self.link, lambda: MPI.Request.Testall(self.requests))
        except BaseException:
            self.link.left_behind.append(self)  # MPI may still write into the buffers
            raise
