"""What can be asked: a deployment is one model at one provider, a pool is one name that several of them answer to."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Deployment:
    """One road: a model at a provider. A weight of 0 is a standby, drawn only when nothing heavier is left."""

    id: str
    provider: str
    model: str
    weight: int = 1

    def __post_init__(self) -> None:
        if self.weight < 0:
            raise ValueError(f"deployment {self.id} has weight {self.weight}: give 0 (a standby) or more")

    @property
    def target(self) -> tuple[str, str]:
        """Two deployments with the same target are the same road under two names."""
        return self.provider, self.model


@dataclass(frozen=True, slots=True)
class Pool:
    """A name that callers use. `route` is "pinned" where the name itself already says which deployment."""

    name: str
    deployments: tuple[Deployment, ...]
    route: str = "pool"

    def __post_init__(self) -> None:
        if not self.deployments:
            raise ValueError(f"model {self.name} has no deployment: name at least one provider and model for it")
