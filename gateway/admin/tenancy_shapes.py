"""Organizations, users and members as the admin API takes and shows them."""

from typing import Annotated

from pydantic import BaseModel, Field

from billing.roles import Role
from gateway.admin.asked import Asked, Id, Name, PageAsked
from gateway.admin.shown import Instant, Listing

Email = Annotated[str, Field(min_length=3, max_length=254, pattern=r"^[^@\s]+@[^@\s]+$")]


class OrganizationAsked(Asked):
    name: Name
    id: Id | None = None


class OrganizationChange(Asked):
    name: Name = ""


class Organization(BaseModel):
    id: str
    name: str
    created_at: Instant
    version: int


class Organizations(Listing):
    data: list[Organization]


class UserAsked(Asked):
    name: Name
    email: Email
    role: Role = Role.MEMBER
    id: Id | None = None
    organization_id: Id | None = None


class UserChange(Asked):
    name: Name = ""
    email: Email = ""
    role: Role | None = None
    organization_id: Id | None = None


class UsersAsked(PageAsked):
    email: Annotated[str, Field(max_length=254)] | None = None


class User(BaseModel):
    id: str
    name: str
    email: str
    role: Role
    organization_id: str | None = None
    created_at: Instant
    version: int


class Users(Listing):
    data: list[User]


class MemberAsked(Asked):
    user_id: Id


class Member(BaseModel):
    team_id: str
    user_id: str
    name: str | None = None
    email: str | None = None
    role: Role | None = None
    created_at: Instant


class Members(Listing):
    data: list[Member]
