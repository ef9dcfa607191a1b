"""Jobs of kind Approve: the locks decide about a request, before any ceremony for it."""

from node.handlers import Handled, Work
from wire.outcomes import Approved


class Approve:
    """Reached once the locks are open, so there is nothing left to do."""

    carries_request = True
    asks_gate = True

    async def handle(self, work: Work) -> Handled:
        return Handled(result=Approved(), audit={"request_id": str(work.job.request_id)})
