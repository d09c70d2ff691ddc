"""What a page says after something was done; a link can make it say these sentences and no others."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

SAID: Final[Mapping[str, str]] = MappingProxyType(
    {
        "organization-made": "The organization is there.",
        "organization-changed": "The organization is changed.",
        "organization-gone": "The organization is deleted. Reports still name it.",
        "team-made": "The team is there. A key for it comes next.",
        "team-changed": "The team is changed.",
        "team-gone": "The team is deleted. Reports still name it.",
        "user-made": "The user is there.",
        "user-changed": "The user is changed.",
        "user-gone": "The user is deleted. Reports still name them.",
        "member-made": "The user is a member of the team.",
        "member-gone": "The user is no member of the team any more.",
        "key-changed": "The key is changed. It counts from the next request on.",
        "key-revoked": "The key is revoked. It opens nothing any more.",
        "key-shown": "This was done before, and the secret was shown then. Is it lost? Rotate the key.",
        "budget-made": "The budget binds from now on.",
        "budget-changed": "The budget is changed, and binds as it is now.",
        "budget-gone": "The budget is deleted. It binds nothing any more.",
        "zone-changed": "Times are shown in this zone from now on.",
    }
)
