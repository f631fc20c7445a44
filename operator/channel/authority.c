/* Two CAs at most are in use side by side, so that no agent has to learn of another one in the
 * moment when it is shown: agents read what they trust from a mounted file, and the kubelet takes
 * its time with that. Keys are of the curve P-256.
 *
 * https://www.rfc-editor.org/rfc/rfc5280 */
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <time.h>

#include "common/text.h"
#include "operator/channel/channel.h"

#define CA_S (INT64_C(2) * 365 * 86400)
#define CERT_S (INT64_C(90) * 86400)
#define TRUSTED_FIRST_S INT64_C(86400)
#define TRUSTED_MAX 3 /* before, in use, next */
#define SKEW_S 3600   /* clocks of other machines */
#define PEM_BYTES_MAX (1 << 16)

static void wipe(char **text)
{
    if (*text)
        explicit_bzero(*text, strlen(*text));
    free(*text);
    *text = NULL;
}

void authority_done(Authority *authority)
{
    free(authority->ca);
    free(authority->next);
    free(authority->cert);
    wipe(&authority->ca_key);
    wipe(&authority->next_key);
    wipe(&authority->key);
    *authority = (Authority){0};
}

/* --- PEM --- */

static X509 *cert_of(const char *pem)
{
    BIO *bio = pem && strlen(pem) < PEM_BYTES_MAX ? BIO_new_mem_buf(pem, -1) : NULL;
    X509 *cert = bio ? PEM_read_bio_X509(bio, NULL, NULL, NULL) : NULL;
    BIO_free(bio);
    ERR_clear_error();
    return cert;
}

static EVP_PKEY *key_of(const char *pem)
{
    BIO *bio = pem && strlen(pem) < PEM_BYTES_MAX ? BIO_new_mem_buf(pem, -1) : NULL;
    EVP_PKEY *key = bio ? PEM_read_bio_PrivateKey(bio, NULL, NULL, NULL) : NULL;
    BIO_free(bio);
    ERR_clear_error();
    return key;
}

static char *text_in(BIO *bio /* taken */)
{
    char *data;
    long bytes = BIO_get_mem_data(bio, &data);
    char *text = mem_strndup(data, (size_t)bytes);
    BIO_free_all(bio);
    return text;
}

static char *pem_of_cert(X509 *cert)
{
    BIO *bio = BIO_new(BIO_s_mem());
    ASSERT(bio && PEM_write_bio_X509(bio, cert));
    return text_in(bio);
}

static char *pem_of_key(EVP_PKEY *key)
{
    BIO *bio = BIO_new(BIO_s_secmem());
    ASSERT(bio && PEM_write_bio_PKCS8PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL));
    return text_in(bio);
}

/* --- making --- */

static void add_extension(X509 *cert, X509 *issuer, int nid, const char *value)
{
    X509V3_CTX about;
    X509V3_set_ctx_nodb(&about);
    X509V3_set_ctx(&about, issuer, cert, NULL, NULL, 0);
    X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, &about, nid, value);
    ASSERT(extension && X509_add_ext(cert, extension, -1));
    X509_EXTENSION_free(extension);
}

static X509 *begin(EVP_PKEY *key, const char *name, int64_t now_s, int64_t lives_s)
{
    X509 *cert = X509_new();
    uint8_t serial[16];
    ASSERT(cert && key && RAND_bytes(serial, sizeof serial) == 1);
    serial[0] &= 0x7f; /* positive */
    BIGNUM *number = BN_bin2bn(serial, sizeof serial, NULL);
    ASSERT(number && BN_to_ASN1_INTEGER(number, X509_get_serialNumber(cert)));
    BN_free(number);
    X509_set_version(cert, X509_VERSION_3);
    ASN1_TIME_set(X509_getm_notBefore(cert), (time_t)(now_s - SKEW_S));
    ASN1_TIME_set(X509_getm_notAfter(cert), (time_t)(now_s + lives_s));
    X509_set_pubkey(cert, key);
    X509_NAME_add_entry_by_txt(X509_get_subject_name(cert), "CN", MBSTRING_UTF8,
                               (const unsigned char *)name, -1, -1, 0);
    return cert;
}

static void make_ca(int64_t now_s, char **ret_pem, char **ret_key)
{
    char name[64];
    EVP_PKEY *key = EVP_EC_gen("P-256");
    snprintf(name, sizeof name, "firn channel %lld", (long long)now_s); /* each has its own */
    X509 *cert = begin(key, name, now_s, CA_S);
    X509_set_issuer_name(cert, X509_get_subject_name(cert));
    add_extension(cert, cert, NID_basic_constraints, "critical,CA:TRUE,pathlen:0");
    add_extension(cert, cert, NID_key_usage, "critical,keyCertSign");
    add_extension(cert, cert, NID_subject_key_identifier, "hash");
    ASSERT(X509_sign(cert, key, EVP_sha256()));
    free(*ret_pem);
    wipe(ret_key);
    *ret_pem = pem_of_cert(cert);
    *ret_key = pem_of_key(key);
    X509_free(cert);
    EVP_PKEY_free(key);
}

static void make_cert(Authority *authority, const char *host, int64_t now_s)
{
    X509 *ca = cert_of(authority->ca);
    EVP_PKEY *ca_key = key_of(authority->ca_key), *key = EVP_EC_gen("P-256");
    ASSERT(ca && ca_key && text_is_object_name(host));
    X509 *cert = begin(key, "firn-operator", now_s, CERT_S);
    AUTO(mem_free) char *names = mem_format("DNS:%s", host);
    X509_set_issuer_name(cert, X509_get_subject_name(ca));
    add_extension(cert, ca, NID_basic_constraints, "critical,CA:FALSE");
    add_extension(cert, ca, NID_key_usage, "critical,digitalSignature");
    add_extension(cert, ca, NID_ext_key_usage, "serverAuth");
    add_extension(cert, ca, NID_authority_key_identifier, "keyid");
    add_extension(cert, ca, NID_subject_alt_name, names);
    ASSERT(X509_sign(cert, ca_key, EVP_sha256()));
    free(authority->cert);
    wipe(&authority->key);
    authority->cert = pem_of_cert(cert);
    authority->key = pem_of_key(key);
    X509_free(cert);
    X509_free(ca);
    EVP_PKEY_free(ca_key);
    EVP_PKEY_free(key);
}

/* --- judging --- */

static int64_t seconds_of(const ASN1_TIME *time)
{
    struct tm parts = {0};
    return ASN1_TIME_to_tm(time, &parts) ? (int64_t)timegm(&parts) : 0;
}

typedef enum Age { AGE_NONE, AGE_GOOD, AGE_LATE, AGE_OVER } Age;

/* Of a certificate with its key. */
static Age age_of(const char *pem, const char *key_pem, int64_t now_s)
{
    X509 *cert = cert_of(pem);
    EVP_PKEY *key = key_of(key_pem);
    Age age = AGE_NONE;
    if (cert && key && X509_check_private_key(cert, key) == 1) {
        int64_t from_s = seconds_of(X509_get0_notBefore(cert));
        int64_t to_s = seconds_of(X509_get0_notAfter(cert));
        age = now_s < from_s || now_s >= to_s            ? AGE_OVER
              : now_s - from_s > (to_s - from_s) / 3 * 2 ? AGE_LATE
                                                         : AGE_GOOD;
    }
    X509_free(cert);
    EVP_PKEY_free(key);
    ERR_clear_error();
    return age;
}

static bool is_of(const Authority *authority, const char *host)
{
    X509 *ca = cert_of(authority->ca), *cert = cert_of(authority->cert);
    bool good = ca && cert && X509_verify(cert, X509_get0_pubkey(ca)) == 1 &&
                X509_check_host(cert, host, 0, 0, NULL) == 1;
    X509_free(ca);
    X509_free(cert);
    ERR_clear_error();
    return good;
}

static int64_t trusted_for_s(const char *pem, int64_t now_s)
{
    X509 *cert = cert_of(pem);
    int64_t from_s = cert ? seconds_of(X509_get0_notBefore(cert)) : now_s;
    X509_free(cert);
    return now_s - from_s - SKEW_S;
}

/* The certificates of a text that have not ended, each once, `most` at most; the caller's. */
static char *still_good(const char *pem, int most, int64_t now_s)
{
    Bytes text = {0};
    BIO *bio = BIO_new_mem_buf(pem, -1);
    X509 *cert;
    while (most > 0 && (cert = PEM_read_bio_X509(bio, NULL, NULL, NULL))) {
        AUTO(mem_free) char *one = pem_of_cert(cert);
        bool there = text.used && memmem(text.data, text.used, one, strlen(one));
        if (!there && seconds_of(X509_get0_notAfter(cert)) > now_s) {
            bytes_put(&text, one, strlen(one));
            most--;
        }
        X509_free(cert);
    }
    BIO_free(bio);
    ERR_clear_error();
    bytes_put_u8(&text, '\0');
    return (char *)text.data;
}

/* `first` (NULL: none) before what is trusted now, and what is next. */
static void trust(Authority *authority, const char *first, int64_t now_s)
{
    AUTO(mem_free)
    char *all = mem_format("%s%s%s", first ? first : "", authority->ca,
                           authority->next ? authority->next : "");
    char *trusted = still_good(all, TRUSTED_MAX, now_s);
    free(authority->ca);
    authority->ca = trusted;
}

bool authority_renew(Authority *authority, const char *host, int64_t now_s)
{
    Age ca = age_of(authority->ca, authority->ca_key, now_s);
    bool changed = false;
    if (ca == AGE_NONE || ca == AGE_OVER) {
        authority_done(authority);
        make_ca(now_s, &authority->ca, &authority->ca_key);
        changed = true;
    } else if (ca == AGE_LATE) {
        Age next = age_of(authority->next, authority->next_key, now_s);
        if (next != AGE_GOOD) {
            make_ca(now_s, &authority->next, &authority->next_key);
            trust(authority, NULL, now_s);
            changed = true;
        } else if (trusted_for_s(authority->next, now_s) >= TRUSTED_FIRST_S) {
            AUTO(mem_free) char *first = authority->next;
            authority->next = NULL;
            trust(authority, first, now_s);
            wipe(&authority->ca_key);
            authority->ca_key = TAKE(authority->next_key);
            changed = true;
        }
    }
    if (age_of(authority->cert, authority->key, now_s) == AGE_GOOD && is_of(authority, host))
        return changed;
    make_cert(authority, host, now_s);
    return true;
}
