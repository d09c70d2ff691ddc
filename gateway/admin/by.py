"""Who asked, as a route's parameter: the guard has admitted the caller before."""

from typing import Annotated

from fastapi import Depends
from starlette.requests import Request

from gateway.admin.door import Caller


async def caller_of(request: Request) -> Caller:
    caller: Caller = request.state.caller
    return caller


By = Annotated[Caller, Depends(caller_of)]
