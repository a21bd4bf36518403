"""Tasks are the functions that wit/task.wit exports. What is raised as Err(...) is the failure that it names."""

import wit_world
from componentize_py_types import Err
from wit_world import Failure_Permanent, Summary


class WitWorld(wit_world.WitWorld):
    def run(self, numbers: list[float]) -> Summary:
        if not numbers:
            raise Err(Failure_Permanent("no numbers"))
        return Summary(len(numbers), sum(numbers) / len(numbers), min(numbers), max(numbers))
