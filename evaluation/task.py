"""The definition of one evaluation."""

from dataclasses import dataclass

from evaluation.features.concept_images import References
from evaluation.protocol.plan import Plan, Protocol, make_plan


@dataclass(frozen=True)
class Task:
    """Adapters (name → path as the server takes it) of one concept, the protocol and the reference images."""

    run: str
    protocol: Protocol
    prompts_sha256: str
    trigger: str
    references: References
    adapters: dict[str, str]

    @property
    def plan(self) -> Plan:
        """Every request."""
        return make_plan(self.protocol, self.trigger, list(self.adapters))
