/* links: firn_operator_channel */
/* The channel's keys over the years. */
#include "tests/unit/unit.h"

#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include "operator/channel/channel.h"

#define DAY INT64_C(86400)
#define NOW INT64_C(1800000000)

static int certs_in(const char *pem)
{
    int count = 0;
    for (; (pem = strstr(pem, "-----BEGIN CERTIFICATE-----")); pem++)
        count++;
    return count;
}

static X509 *first_of(const char *pem)
{
    BIO *bio = BIO_new_mem_buf(pem, -1);
    X509 *cert = PEM_read_bio_X509(bio, NULL, NULL, NULL);
    assert_non_null(cert);
    BIO_free(bio);
    return cert;
}

/* As an agent judges it: by what it trusts, for the name, at that time. */
static bool is_trusted(const char *trust, const char *cert_pem, const char *host, int64_t now_s)
{
    X509_STORE *store = X509_STORE_new();
    BIO *bio = BIO_new_mem_buf(trust, -1);
    X509 *ca, *cert = first_of(cert_pem);
    while ((ca = PEM_read_bio_X509(bio, NULL, NULL, NULL))) {
        X509_STORE_add_cert(store, ca);
        X509_free(ca);
    }
    BIO_free(bio);
    X509_STORE_CTX *about = X509_STORE_CTX_new();
    assert_int_equal(X509_STORE_CTX_init(about, store, cert, NULL), 1);
    X509_VERIFY_PARAM *param = X509_STORE_CTX_get0_param(about);
    X509_VERIFY_PARAM_set_time(param, (time_t)now_s);
    X509_VERIFY_PARAM_set1_host(param, host, 0);
    X509_VERIFY_PARAM_set_purpose(param, X509_PURPOSE_SSL_SERVER);
    bool good = X509_verify_cert(about) == 1;
    X509_STORE_CTX_free(about);
    X509_STORE_free(store);
    X509_free(cert);
    return good;
}

static void made_once(void **state)
{
    (void)state;
    Authority authority = {0};
    assert_true(authority_renew(&authority, "firn.firn-system.svc", NOW));
    assert_true(is_trusted(authority.ca, authority.cert, "firn.firn-system.svc", NOW));
    assert_false(is_trusted(authority.ca, authority.cert, "other.firn-system.svc", NOW));
    assert_false(is_trusted(authority.ca, authority.cert, "firn.firn-system.svc", NOW + 91 * DAY));
    assert_false(authority_renew(&authority, "firn.firn-system.svc", NOW + DAY));
    /* what is broken is made anew */
    authority.cert[100] ^= 1;
    assert_true(authority_renew(&authority, "firn.firn-system.svc", NOW));
    assert_true(is_trusted(authority.ca, authority.cert, "firn.firn-system.svc", NOW));
    /* another name needs another certificate, of the same CA */
    AUTO(mem_free) char *ca = mem_strdup(authority.ca);
    assert_true(authority_renew(&authority, "new.firn-system.svc", NOW));
    assert_string_equal(authority.ca, ca);
    assert_true(is_trusted(ca, authority.cert, "new.firn-system.svc", NOW));
    authority_done(&authority);
}

/* A key that is another's, and a CA that has ended. */
static void nothing_is_left_as_it_is(void **state)
{
    (void)state;
    Authority one = {0}, other = {0};
    assert_true(authority_renew(&one, "firn", NOW));
    assert_true(authority_renew(&other, "firn", NOW));
    free(one.key);
    one.key = mem_strdup(other.key);
    assert_true(authority_renew(&one, "firn", NOW));
    assert_false(authority_renew(&one, "firn", NOW));
    free(one.cert);
    one.cert = mem_strdup(other.cert);
    free(one.key);
    one.key = mem_strdup(other.key); /* a pair, and of another CA */
    assert_true(authority_renew(&one, "firn", NOW));
    assert_true(is_trusted(one.ca, one.cert, "firn", NOW));
    assert_true(authority_renew(&one, "firn", NOW + 4000 * DAY));
    assert_true(is_trusted(one.ca, one.cert, "firn", NOW + 4000 * DAY));
    assert_int_equal(certs_in(one.ca), 1);
    authority_done(&one);
    authority_done(&other);
}

/* Over four years, looked at daily: an agent that learns of a CA half a day late never meets a
 * certificate that it does not trust, and the certificate never ends. */
static void keys_change_unseen(void **state)
{
    (void)state;
    Authority authority = {0};
    char *seen = NULL, *before = NULL;
    int cas = 0, certs = 0;
    for (int64_t now_s = NOW; now_s < NOW + 4 * 365 * DAY; now_s += DAY) {
        AUTO(mem_free) char *cert = authority.cert ? mem_strdup(authority.cert) : mem_strdup("");
        (void)authority_renew(&authority, "firn", now_s);
        if (!seen) /* the first file that it gets */
            seen = mem_strdup(authority.ca);
        certs += strcmp(cert, authority.cert) != 0;
        if (!is_trusted(seen, authority.cert, "firn", now_s))
            fail_msg("on day %lld: %d trusted", (long long)((now_s - NOW) / DAY), certs_in(seen));
        assert_true(certs_in(authority.ca) <= 3);
        free(seen);
        seen = mem_strdup(authority.ca);
        X509 *ca = first_of(authority.ca);
        AUTO(mem_free) char *name = mem_alloc(256);
        X509_NAME_oneline(X509_get_subject_name(ca), name, 256);
        X509_free(ca);
        cas += !before || strcmp(before, name) != 0;
        free(before);
        before = TAKE(name);
    }
    assert_true(cas >= 3);
    assert_true(certs >= 4 * 365 / 90);
    assert_true(certs <= 40);
    free(seen);
    free(before);
    authority_done(&authority);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(made_once),
        cmocka_unit_test(nothing_is_left_as_it_is),
        cmocka_unit_test(keys_change_unseen),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
