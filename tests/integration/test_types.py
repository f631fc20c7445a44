# seconds: 900
"""Every type with its edge values, copied and streamed, from every supported version of PostgreSQL, in both format
versions; compared by two engines that are not ours. 15 is Debian's, with whatever extensions are installed there;
what a version lacks stands in LACKS, so that nothing is skipped in silence."""

import unittest

from harness.case import Shop
from harness.postgres import Postgres
from harness.types import Types

# Extensions that the server's binaries come without.
LACKS = {16: {"vector", "postgis"}, 17: {"vector", "postgis"}, 18: {"vector", "postgis"}}
MAY_LACK_15 = {"vector", "postgis"}


class TypesOf(Shop):
    version = None

    @classmethod
    def setUpClass(cls):
        cls.postgres = Postgres(cls.version, **cls.settings).start()
        cls.addClassCleanup(cls.postgres.stop)

    def assert_engines_agree(self):
        for table in ("types", "whole", "keyed", "null_lists"):
            self.assert_equal("duckdb", f"public.{table}=shop/{table}")
        for table in ("types", "whole", "keyed"):
            self.assert_equal("pyiceberg", f"public.{table}=shop/{table}")

    def copied_and_streamed(self, format: int):
        self.connection.execute("alter database shop set timezone = 'Asia/Kolkata'")
        self.connection.execute("alter database shop set intervalstyle = 'iso_8601'")
        self.connection.execute("alter database shop set extra_float_digits = 0")
        types = Types(self.connection, self.version)
        if self.version == 15:
            self.assertLessEqual(types.skipped, MAY_LACK_15)
        else:
            self.assertEqual(types.skipped, LACKS[self.version])
        print(f"PostgreSQL {self.version}: {len(types.kinds)} types; without {', '.join(sorted(types.skipped)) or 'nothing'}")
        types.make()
        types.insert()
        types.insert_null_lists()
        self.write_manifest(format=format, exclude='["public.spatial_ref_sys"]')
        agent = self.start()
        self.wait_agreed(agent)
        self.assert_engines_agree()
        types.insert()
        types.change()
        self.wait_agreed(agent)
        self.assert_engines_agree()
        self.assert_stopped(agent)


def _add(version: int):
    def v2(self):
        self.copied_and_streamed(2)

    def v3(self):
        self.copied_and_streamed(3)

    name = f"PostgreSQL{version}"
    globals()[name] = type(name, (TypesOf,), {"version": version, "test_v2": v2, "test_v3": v3})


for _version in (15, *LACKS):
    _add(_version)

if __name__ == "__main__":
    unittest.main()
