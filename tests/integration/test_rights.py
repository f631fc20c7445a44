"""A role with exactly the rights that README names, as a managed database gives them: no superuser anywhere. Then TLS
in every mode, with certificates of server and client. Each refusal names the field and the way out, and no log has a
password or a key in it."""

import os
import pwd
import re
import unittest
from pathlib import Path

import psycopg
from harness import authority, shop
from harness.agent import OK, REFUSED, command
from harness.case import Shop
from harness.postgres import Postgres
from harness.wait import wait_until

README = Path(__file__).resolve().parents[2] / "README.md"
SECRET = "n0t-in-any-log"


def readme() -> list[list[str]]:
    """The statements of README's "Following your own database", block by block."""
    section = README.read_text().split("\n## Following your own database\n")[1].split("\n2. ")[0]
    blocks = re.findall(r"```sql\n(.*?)```", section, re.S)
    return [[" ".join(each.split()) for each in block.replace("'…'", f"'{SECRET}'").split(";") if each.strip()] for block in blocks]


class Rights(Shop):
    """The tables belong to shop_owner, which is no superuser either."""

    version = None
    rows = 400

    @classmethod
    def setUpClass(cls):
        cls.postgres = Postgres(cls.version, **cls.settings).start()
        cls.addClassCleanup(cls.postgres.stop)
        cls.postgres.execute(f"create role shop_owner login password '{SECRET}'")

    def setUp(self):
        super().setUp()
        self.connection.execute("alter database shop owner to shop_owner")
        self.owner = self.connect("shop_owner")
        shop.make(self.owner, self.rows)
        self.role, self.own, self.given = readme()
        self.logs = []

    def connect(self, user: str) -> psycopg.Connection:
        connection = self.postgres.connect("shop", user=user, password=SECRET)
        self.addCleanup(connection.close)
        return connection

    def grant(self, *statements: str):
        if statements and statements[0].startswith("CREATE ROLE"):
            self.addCleanup(self.postgres.execute, "drop role firn")
            self.addCleanup(self.postgres.execute, "drop owned by firn")
            self.addCleanup(self.postgres.execute, "drop owned by firn", "shop")
        for statement in statements:
            self.connection.execute(statement)

    def write(self, **fields):
        return self.write_manifest(**{"user": "firn", "password": SECRET, "slot": "firn_shop", "publication": "firn_shop", **fields})

    def start(self, *arguments, **options):
        agent = super().start(*arguments, **options)
        self.logs.append(agent)
        return agent

    def tearDown(self):
        for agent in self.logs:
            self.assertNotIn(SECRET, agent.text())
            self.assertNotIn("PRIVATE KEY", agent.text())

    def refused(self, code: str, *said: str):
        agent = self.start()
        self.assertEqual(agent.wait(), REFUSED, agent.text())
        for text in (code, *said):
            self.assertIn(text, agent.text())

    def followed(self):
        """Copied, then changed, then equal."""
        agent = self.start()
        traffic = shop.Traffic(self.owner, 1, bulk=False)
        for _ in range(20):
            traffic.step()
        self.wait_agreed(agent, slot="firn_shop")
        self.assert_equal()
        return agent

    def test_managed_by_firn(self):
        self.grant(*self.role, *self.own)
        path = self.write()
        self.assert_stopped(self.followed())
        done = command("drop", "--yes", "-f", path)
        self.assertEqual(done.returncode, OK, done.stderr)
        self.assertEqual(self.connection.execute("select from pg_publication").fetchall(), [])
        self.assertIsNone(self.postgres.slot("firn_shop"))

    def test_managed_by_the_owner(self):
        self.grant(*self.role)
        publication, slot = self.given
        self.owner.execute(publication)
        self.connect("firn").execute(slot)
        self.write(manage="false")
        self.assert_stopped(self.followed())

    def test_each_right_is_needed(self):
        """One after another: what is missing is said with what to do, and that is enough."""
        create, usage, select = self.role
        database, member = self.own
        self.connection.execute("revoke usage on schema public from public")
        self.write()
        self.grant(create.replace(" REPLICATION", ""))
        self.refused("PrivilegeMissing", "ALTER ROLE", "WITH REPLICATION")
        self.grant("alter role firn with replication")
        self.refused("PrivilegeMissing", "GRANT USAGE ON SCHEMA", "GRANT SELECT ON")
        self.grant(usage)
        self.refused("PrivilegeMissing", "GRANT SELECT ON")
        self.grant(select)
        self.refused("PrivilegeMissing", "GRANT CREATE ON DATABASE")
        self.grant(database)
        self.refused("PrivilegeMissing", "member of the tables' owner")
        self.write(manage="false")
        self.refused("PublicationMissing", "CREATE PUBLICATION", "manage: true")
        self.owner.execute(self.given[0])
        self.refused("SlotMissing", "pg_create_logical_replication_slot")
        self.write()
        self.owner.execute("drop publication firn_shop")
        self.grant(member)
        self.assert_stopped(self.followed())

    def test_wrong_password(self):
        self.grant(*self.role, *self.own)
        self.write(password="wr0ng-and-not-in-any-log")
        self.refused("WrongPassword", "spec.source.credentialsSecretRef")
        self.assertNotIn("wr0ng-and", self.logs[-1].text())
        self.write()
        self.assert_stopped(self.followed())

    def test_rows_that_a_policy_hides(self):
        """Never a smaller copy."""
        self.grant(*self.role)
        self.owner.execute("alter table orders enable row level security")
        self.owner.execute(self.given[0])
        self.connect("firn").execute(self.given[1])
        self.write(manage="false")
        self.refused("PrivilegeMissing", "row-level security", "orders", "BYPASSRLS")
        self.grant("alter role firn bypassrls")
        self.assert_stopped(self.followed())

    def test_a_member_of_amazons_role(self):
        """What replicates there is a member, not the attribute; elsewhere the server says what it wants."""
        self.grant(self.role[0].replace(" REPLICATION", ""), *self.role[1:])
        self.connection.execute("create role rds_replication")
        self.addCleanup(self.postgres.execute, "drop role rds_replication")
        self.connection.execute("grant rds_replication to firn")
        self.write()
        self.refused("PrivilegeMissing", "WITH REPLICATION", "postgres 127.0.0.1")  # the server's own words


class Tls(Shop):
    """The server's certificate is made out to localhost, and not to 127.0.0.1."""

    @classmethod
    def setUpClass(cls):
        cls.postgres = Postgres(**cls.settings)
        cls.addClassCleanup(cls.postgres.stop)
        cls.tls = cls.postgres.folder / "tls"
        other = cls.tls / "other"
        other.mkdir(parents=True)
        authority.make(cls.tls)
        authority.issue(cls.tls, "db", "localhost", "DNS:localhost")
        authority.issue(cls.tls, "firn", "firn")
        authority.make(other)
        authority.issue(other, "firn", "firn")
        for path in cls.tls.iterdir():
            if os.geteuid() == 0:
                entry = pwd.getpwnam("postgres")
                os.chown(path, entry.pw_uid, entry.pw_gid)
        if os.geteuid() == 0:
            os.chown(cls.tls, pwd.getpwnam("postgres").pw_uid, -1)
        cls.postgres.settings |= {
            "ssl": "on", "ssl_cert_file": f"'{cls.tls}/db.crt'", "ssl_key_file": f"'{cls.tls}/db.key'", "ssl_ca_file": f"'{cls.tls}/ca.crt'"}  # fmt: skip
        cls.postgres.start()
        cls.postgres.execute("create role firn login superuser password 'client-secret'")
        cls.hba = cls.postgres.folder / "data" / "pg_hba.conf"
        cls.usual = cls.hba.read_text()

    def setUp(self):
        super().setUp()
        self.connection.execute("create table t (id int primary key, v text)")
        self.connection.execute("insert into t select i, 'v' || i from generate_series(1, 500) i")
        self.agents = []

    def tearDown(self):
        for agent in self.agents:
            for secret in ("client-secret", "PRIVATE KEY", "firn-test-password"):
                self.assertNotIn(secret, agent.text())

    def let_in(self, *lines: str):
        """For the role firn these lines count, for others what is usual."""
        self._rules("".join(f"{line}\n" for line in lines) + "host all firn all reject\n" + self.usual)
        self.addCleanup(self._rules, self.usual)

    def _rules(self, text: str):
        def loaded():  # what a new connection has of its parent
            return self.postgres.execute("select pg_conf_load_time()")

        self.hba.write_text(text)
        before = loaded()
        self.postgres.execute("select pg_reload_conf()")
        wait_until(lambda: loaded() != before, 90, "pg_hba.conf is read again")

    def write(self, mode: str, ca: Path = None, client: Path = None, key: Path = None, **fields):
        documents, tls = "", f"{{mode: {mode}}}"
        if ca:
            documents = f"apiVersion: v1\nkind: Secret\nmetadata: {{name: ca}}\nstringData:\n  ca.crt: |\n{self.indented(ca)}---\n"
            tls = f"{{mode: {mode}, caSecretRef: {{name: ca}}}}"
        secret = {}
        if client:
            secret = {"tls.crt": client.read_text(), "tls.key": (key or client.with_suffix(".key")).read_text()}
        self.write_manifest(**{"user": "firn", "password": "client-secret", "tls": tls, "documents": documents, "secret": secret, **fields})

    @staticmethod
    def indented(path: Path) -> str:
        return "".join(f"    {line}\n" for line in path.read_text().splitlines())

    def start(self, *arguments, **options):
        agent = super().start(*arguments, **options)
        self.agents.append(agent)
        return agent

    def followed(self, encrypted: bool):
        agent = self.start()
        self.wait_agreed(agent)
        self.connection.execute("update t set v = v || 'x' where id % 2 = 0; delete from t where id % 7 = 0")
        self.connection.execute("insert into t select max(id) + 1, repeat('long ', 100000) from t")
        self.wait_agreed(agent)
        found = self.postgres.execute(
            "select backend_type, ssl from pg_stat_ssl join pg_stat_activity using (pid) where application_name = 'firn-agent'")  # fmt: skip
        self.assertIn("walsender", [kind for kind, _ in found])
        self.assertEqual({ssl for _, ssl in found}, {encrypted})
        self.assert_equal()
        self.assert_stopped(agent)

    def refused(self, code: str, *said: str):
        agent = self.start()
        self.assertEqual(agent.wait(), REFUSED, agent.text())
        for text in (code, *said):
            self.assertIn(text, agent.text())

    def test_modes(self):
        for mode, host, ca in (
            ("Disable", "127.0.0.1", None), ("Prefer", "127.0.0.1", None), ("Require", "127.0.0.1", None),
            ("VerifyCa", "127.0.0.1", "ca.crt"), ("VerifyFull", "localhost", "ca.crt"),
        ):  # fmt: skip
            with self.subTest(mode=mode):
                self.write(mode, self.tls / ca if ca else None, host=host)
                self.followed(encrypted=mode != "Disable")

    def test_wrong_authority(self):
        for mode in ("VerifyCa", "VerifyFull"):
            self.write(mode, self.tls / "other" / "ca.crt", host="localhost")
            self.refused("TlsFailed", "certificate verify failed", "spec.source.tls.caSecretRef")
        self.write("VerifyFull", self.tls / "ca.crt", host="localhost")
        self.followed(encrypted=True)

    def test_wrong_host_name(self):
        self.write("VerifyFull", self.tls / "ca.crt", host="127.0.0.1")
        self.refused("TlsFailed", "does not match host name", "spec.source.host", "VerifyCa")
        self.write("VerifyCa", self.tls / "ca.crt", host="127.0.0.1")
        self.followed(encrypted=True)

    def test_server_wants_tls(self):
        self.let_in("hostssl all firn all scram-sha-256")
        self.write("Disable")
        self.refused("LoginRefused", "spec.source.tls.mode: Require")
        self.write("Require")
        self.followed(encrypted=True)

    def test_certificate_of_the_client(self):
        """In the password's place; and beside it."""
        self.let_in("hostssl all firn all cert")
        self.write("Require")
        self.refused("LoginRefused", "tls.crt and tls.key", "spec.source.credentialsSecretRef")
        self.write("VerifyFull", self.tls / "ca.crt", self.tls / "firn.crt", host="localhost", password="")
        self.followed(encrypted=True)
        self.let_in("hostssl all firn all scram-sha-256 clientcert=verify-full")
        self.write("Require", client=self.tls / "firn.crt", password="")
        self.refused("PasswordMissing", "key password", "spec.source.credentialsSecretRef")
        self.write("Require", client=self.tls / "firn.crt")
        self.followed(encrypted=True)

    def test_wrong_certificate_of_the_client(self):
        self.let_in("hostssl all firn all cert")
        self.write("Require", client=self.tls / "other" / "firn.crt", password="")
        self.refused("TlsFailed", "spec.source.credentialsSecretRef", "ssl_ca_file")
        self.write("Require", client=self.tls / "server.crt", password="")
        self.refused("LoginRefused", "made out to")
        self.write("Require", client=self.tls / "firn.crt", key=self.tls / "other" / "firn.key", password="")
        self.refused("TlsFailed", "spec.source.credentialsSecretRef", "belong together")
        self.write("Require", client=self.tls / "firn.crt", password="")
        self.followed(encrypted=True)

    def test_manifest_says_it_before(self):
        self.write("Disable", client=self.tls / "firn.crt")
        self.refused("spec.source.tls.mode", "Disable")
        self.write("VerifyFull")
        self.refused("spec.source.tls.caSecretRef")
        self.write("VerifyFull", self.tls / "firn.key", host="localhost")
        self.refused("spec.source.tls.caSecretRef", "no certificate in PEM form")


class TlsOff(Shop):
    """A server that has none."""

    def test_required(self):
        self.connection.execute("create table t (id int primary key)")
        for mode, more in (("Require", ""), ("Prefer", "ok")):
            self.write_manifest(tls=f"{{mode: {mode}}}")
            agent = self.start()
            if more:
                self.wait_agreed(agent)
                self.assert_equal()
                self.assert_stopped(agent)
            else:
                self.assertEqual(agent.wait(), REFUSED, agent.text())
                for text in ("TlsFailed", "does not support SSL", "spec.source.tls.mode: Disable"):
                    self.assertIn(text, agent.text())


def _versions():
    for version in (15, 18):
        tests = {name: getattr(Rights, name) for name in dir(Rights) if name.startswith("test_")}
        yield f"Rights{version}", type(f"Rights{version}", (Rights,), {"version": version, **tests})


globals().update(_versions())
del Rights  # has no version

if __name__ == "__main__":
    unittest.main(verbosity=2)
