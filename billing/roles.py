"""What a person may be to an organization. Who may do what stands in one table of the admin API. Pure."""

from enum import StrEnum


class Role(StrEnum):
    OWNER = "owner"
    ADMIN = "admin"
    BILLING = "billing"
    TEAM_ADMIN = "team_admin"
    MEMBER = "member"
    VIEWER = "viewer"
