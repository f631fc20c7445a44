"""MySQL and MariaDB over TLS: the authority and the host's name are checked as the manifest says, an account may ask for
TLS and for a certificate of the agent's own, and passwords go by the servers' own methods. The log goes the same way as
the copy: an account that asks for TLS has no other."""

import json
import shutil
import tempfile
import unittest
from pathlib import Path

from test_mysql import Base

from harness import authority
from harness.mysql import PASSWORD

VERIFIED = "{mode: VerifyFull, caSecretRef: {name: db, key: ca.crt}}"


class Tls(Base):
    @classmethod
    def setUpClass(cls):
        cls.keys = Path(tempfile.mkdtemp(prefix="firn-mysql-tls-"))
        cls.addClassCleanup(shutil.rmtree, cls.keys, ignore_errors=True)
        authority.make(cls.keys)
        authority.issue(cls.keys, "client", "firn")
        cls.settings = cls.settings | {"ssl_ca": f"{cls.keys}/ca.crt", "ssl_cert": f"{cls.keys}/server.crt", "ssl_key": f"{cls.keys}/server.key"}
        super().setUpClass()
        cls.server.create_user("encrypted", require=" REQUIRE SSL")
        cls.server.create_user("certified", require=" REQUIRE X509")

    def setUp(self):
        super().setUp()
        self.execute("create table t (id int primary key, a varchar(20))")
        self.execute("insert into t values (1, 'one')")

    def secret(self, **names: str) -> str:
        """More keys of the Secret: ca="ca" is the content of ca.crt."""
        return "".join(f", {json.dumps(key.replace('_', '.'))}: {json.dumps((self.keys / file).read_text())}" for key, file in names.items())

    def follow(self, **fields):
        agent = self.start(**fields)
        self.wait_equal(agent, "t")
        self.execute("insert into t select max(id) + 1, 'next' from t")
        self.wait_equal(agent, "t")
        self.assert_stopped(agent)

    def test_verified(self):
        self.follow(user="encrypted", tls=VERIFIED, secret=self.secret(ca_crt="ca.crt"))
        self.follow(user="encrypted", tls=VERIFIED, secret=self.secret(ca_crt="ca.crt"), host="localhost")

    def test_required_and_preferred(self):
        self.follow(user="encrypted", tls="{mode: Require}")
        self.follow(user="encrypted", tls="{mode: Prefer}")
        self.assert_refused("WrongPassword", user="encrypted", tls="{mode: Disable}")

    def test_certificate_of_the_agent(self):
        own = self.secret(ca_crt="ca.crt", tls_crt="client.crt", tls_key="client.key")
        self.follow(user="certified", tls=VERIFIED, secret=own)
        self.assert_refused("WrongPassword", user="certified", tls=VERIFIED, secret=self.secret(ca_crt="ca.crt"))

    def test_another_authority(self):
        other = Path(tempfile.mkdtemp(prefix="firn-mysql-tls-"))
        self.addCleanup(shutil.rmtree, other, ignore_errors=True)
        authority.make(other)
        shutil.copy(other / "ca.crt", self.keys / "other.crt")
        self.assert_refused("TlsFailed", "spec.source.tls", user="encrypted", tls=VERIFIED, secret=self.secret(ca_crt="other.crt"))

    def test_passwords(self):
        """By the method that the server prefers, whether it has the password at hand or not, in clear and encrypted."""
        plugin = "caching_sha2_password" if self.kind == "MySQL" else "ed25519"
        if self.kind == "MariaDB":
            self.server.execute("install soname 'auth_ed25519'")
            self.server.execute(f"create user elliptic@'%' identified via ed25519 using password('{PASSWORD}')")
            for grant in self.server.grants:
                self.server.execute(f"grant {grant.format(database='shop')} to elliptic@'%'")
        user = "firn" if self.kind == "MySQL" else "elliptic"
        self.assertEqual(self.server.execute("select plugin from mysql.user where user = %s", values=[user]), ((plugin,),))
        for tls in "{mode: Disable}", "{mode: Require}":
            self.server.execute("flush privileges")  # what is at hand is forgotten
            self.follow(user=user, tls=tls)
            self.assert_refused("WrongPassword", user=user, tls=tls, password="wrong")


class MariadbTls(Tls, unittest.TestCase):
    kind = "MariaDB"


class MysqlTls(Tls, unittest.TestCase):
    kind = "MySQL"


if __name__ == "__main__":
    unittest.main()
