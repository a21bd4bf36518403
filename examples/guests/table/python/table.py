"""What every language must be able to do: see ../README.md. A typed component by componentize-py."""

import wit_world
from componentize_py_types import Err
from wit_world import Failure_Permanent, Failure_Retryable
from wit_world.imports.host import Level, log, progress


class WitWorld(wit_world.WitWorld):
    def sum(self, numbers: list[float]) -> float:
        return sum(numbers)

    def echo(self, text: str) -> str:
        return text

    def busy(self) -> None:
        raise Err(Failure_Retryable("try again"))

    def never(self) -> None:
        raise Err(Failure_Permanent("never again"))

    def say(self) -> int:
        for line in range(1, 4):
            log(Level.INFO, f"line {line}: grüße")
        return 3

    def steps(self, count: int) -> int:
        for step in range(1, count + 1):
            progress(step, count, "step")
        return count

    def panic(self) -> None:
        raise RuntimeError("as asked")
