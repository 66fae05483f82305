"""What is to be evaluated."""

from dataclasses import dataclass

from evaluation.protocol import Plan, Protocol, plan
from evaluation.references import References


@dataclass(frozen=True)
class Task:
    """Adapters (name → path as the server takes it) of one concept, and what is asked and compared with."""

    run: str
    protocol: Protocol
    prompts_sha256: str
    trigger: str
    references: References
    adapters: dict[str, str]

    @property
    def plan(self) -> Plan:
        """Every request."""
        return plan(self.protocol, self.trigger, list(self.adapters))
