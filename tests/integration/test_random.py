"""Random tables under random statements, followed by an agent that is stopped and killed in between; then every row
compared by two engines that are not ours. From the seed come schema, statements and the agent's starts and ends; what
is left to chance is how far the agent has come at each of them.

FIRN_SEED=N runs that seed alone, or FIRN_SEEDS (20) from it on. Without it the seeds are always the same: what fails
here was broken by the change at hand. tests/long/test_random.py looks for more.
"""

import os
import unittest

from harness.random_case import run_seeds

FIRST = int(os.environ.get("FIRN_SEED", "1"))
COUNT = int(os.environ.get("FIRN_SEEDS", "1" if "FIRN_SEED" in os.environ else "20"))


class Seeds(unittest.TestCase):
    def test_seeds(self):
        outcomes = run_seeds(range(FIRST, FIRST + COUNT), at_once=2)
        self.assertEqual([each.seed for each in outcomes if not each.equal], [])
        self.assertEqual(sorted(each.seed for each in outcomes), list(range(FIRST, FIRST + COUNT)))


if __name__ == "__main__":
    unittest.main(verbosity=2)
