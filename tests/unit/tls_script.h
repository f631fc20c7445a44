/* TLS for http_script.h. */
#pragma once

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include "tests/unit/http_script.h"

/* A certificate of its own, good for "IP:127.0.0.1", "DNS:name", … */
UNUSED static SSL_CTX *tls_named(const char *good_for, char **ret_pem)
{
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *cert = X509_new();
    X509_set_version(cert, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(cert), 1);
    X509_gmtime_adj(X509_getm_notBefore(cert), -3600);
    X509_gmtime_adj(X509_getm_notAfter(cert), 3600);
    X509_set_pubkey(cert, key);
    X509_NAME *name = X509_get_subject_name(cert);
    X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const unsigned char *)"firn", -1, -1, 0);
    X509_set_issuer_name(cert, name);
    X509V3_CTX about;
    X509V3_set_ctx(&about, cert, cert, NULL, NULL, 0);
    X509_EXTENSION *names = X509V3_EXT_conf_nid(NULL, &about, NID_subject_alt_name, good_for);
    X509_EXTENSION *basic = X509V3_EXT_conf_nid(NULL, &about, NID_basic_constraints, "CA:TRUE");
    X509_add_ext(cert, names, -1);
    X509_add_ext(cert, basic, -1);
    X509_EXTENSION_free(names);
    X509_EXTENSION_free(basic);
    assert_true(X509_sign(cert, key, EVP_sha256()) > 0);
    SSL_CTX *tls = SSL_CTX_new(TLS_server_method());
    assert_int_equal(SSL_CTX_use_certificate(tls, cert), 1);
    assert_int_equal(SSL_CTX_use_PrivateKey(tls, key), 1);
    BIO *bio = BIO_new(BIO_s_mem());
    PEM_write_bio_X509(bio, cert);
    char *text;
    long bytes = BIO_get_mem_data(bio, &text);
    *ret_pem = mem_strndup(text, (size_t)bytes);
    BIO_free(bio);
    X509_free(cert);
    EVP_PKEY_free(key);
    return tls;
}

UNUSED static SSL_CTX *tls_with(char **ret_pem)
{
    return tls_named("IP:127.0.0.1", ret_pem);
}
