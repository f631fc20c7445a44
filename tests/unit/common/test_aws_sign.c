/* links: firn_common */
/* Signatures of AWS's published test suite for Signature Version 4: facts of the protocol. */
#include "tests/unit/unit.h"

#include "common/aws/aws.h"

#define TOKEN                                                                                      \
    "AQoDYXdzEPT//////////wEXAMPLEtc764bNrC9SAPBSM22wDOk4x4HIZ8j4FZTwdQWLWsKWHGBuFqwAeMicRXmxfpSP" \
    "fIeoIYRqTflfKD8YUuwthAx7mSEI/qkPpKPi/kMcGdQrmGdeehM4IC1NtBmUpp2wUE8phUZampKsburEDy0KPkyQDYwT" \
    "7WZ0wq5VSXDvp75YU9HFvlRd8Tx6q6fE8YQcHNVXAkiY9q6d+xo0rKwT38xVqr7ZD0u0iPPkUL64lIZbqBAz+scqKmlz" \
    "m8FDrypNC9Yjc8fPOLn9FX9KSYvKTr4rvx3iSIlTJabIQwj2ICCR/oLxBA=="

typedef struct Vector {
    const char *name, *method, *target;
    HttpHeader headers[4];
    const char *body, *payload_hash, *token;
    const char *signed_headers, *signature;
} Vector;

static const Vector vectors[] = {
    {"vanilla",
     "GET",
     "/",
     {{0}},
     NULL,
     NULL,
     NULL,
     "host;x-amz-date",
     "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"},
    {"space: a path as sent is escaped once",
     "GET",
     "/example space/",
     {{0}},
     NULL,
     NULL,
     NULL,
     "host;x-amz-date",
     "652487583200325589f1fba4c7e578f72c47cb61beeca81406b39ddec1366741"},
    {"utf8",
     "GET",
     "/\xe1\x88\xb4",
     {{0}},
     NULL,
     NULL,
     NULL,
     "host;x-amz-date",
     "8318018e0b0f223aa2bbf98705b62bb787dc9c0e678f255a891fd03141be5d85"},
    {"slashes",
     "GET",
     "//example//",
     {{0}},
     NULL,
     NULL,
     NULL,
     "host;x-amz-date",
     "9a624bd73a37c9a373b5312afbebe7a714a789de108f0bdfe846570885f57e84"},
    {"relative",
     "GET",
     "/example1/example2/../..",
     {{0}},
     NULL,
     NULL,
     NULL,
     "host;x-amz-date",
     "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"},
    {"query order",
     "GET",
     "/?Param2=value2&Param1=value1",
     {{0}},
     NULL,
     NULL,
     NULL,
     "host;x-amz-date",
     "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500"},
    {"query order, encoded",
     "GET",
     "/?Param-3=Value3&Param=Value2&%E1%88%B4=Value1",
     {{0}},
     NULL,
     NULL,
     NULL,
     "host;x-amz-date",
     "371d3713e185cc334048618a97f809c9ffe339c62934c032af5a0e595648fcac"},
    {"header values are trimmed",
     "GET",
     "/",
     {{"My-Header1", " value1"}, {"My-Header2", " \"a   b   c\""}},
     NULL,
     NULL,
     NULL,
     "host;my-header1;my-header2;x-amz-date",
     "acc3ed3afb60bb290fc8d2dd0098b9911fcaa05412b367055dee359757a9c736"},
    {"same names keep their order",
     "GET",
     "/",
     {{"My-Header1", "value2"}, {"My-Header1", "value2"}, {"My-Header1", "value1"}},
     NULL,
     NULL,
     NULL,
     "host;my-header1;x-amz-date",
     "c9d5ea9f3f72853aea855b47ea873832890dbdd183b4468f858259531a5138ea"},
    {"a body that is hashed and said",
     "POST",
     "/",
     {{"Content-Type", "application/x-www-form-urlencoded"}, {"Content-Length", "13"}},
     "Param1=value1",
     "9095672bbd1f56dfc5b65f3e153adc8731a4a654192329106275f4c7b24d0b6e",
     NULL,
     "content-length;content-type;host;x-amz-content-sha256;x-amz-date",
     "d3875051da38690788ef43de4db0d8f280229d82040bfac253562e56c3f20e0b"},
    {"session token",
     "POST",
     "/",
     {{0}},
     NULL,
     NULL,
     TOKEN,
     "host;x-amz-date;x-amz-security-token",
     "85d96828115b5dc0cfc3bd16ad9e210dd772bbebba041836c64533a82be05ead"},
    {"session token, GET",
     "GET",
     "/",
     {{0}},
     NULL,
     NULL,
     "6e86291e8372ff2a2260956d9b8aae1d763fbf315fa00fa31553b73ebf194267",
     "host;x-amz-date;x-amz-security-token",
     "07ec1639c89043aa0e3e2de82b96708f198cceab042d4a97044c66dd9f74e7f8"},
};

typedef struct Got {
    char authorization[1024], date[32], hash[80], token[1024];
} Got;

static void take(void *context, const char *name, const char *value)
{
    Got *got = context;
    char *to = strcmp(name, "authorization") == 0          ? got->authorization
               : strcmp(name, "x-amz-date") == 0           ? got->date
               : strcmp(name, "x-amz-content-sha256") == 0 ? got->hash
                                                           : got->token;
    assert_true(strlen(value) < 1024);
    memcpy(to, value, strlen(value) + 1);
}

static void the_published_signatures_come_out(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(vectors); i++) {
        const Vector *v = &vectors[i];
        char access[] = "AKIDEXAMPLE", secret[] = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
        AUTO(mem_free) char *token = v->token ? mem_strdup(v->token) : NULL;
        AwsKeys keys = {.access_key = access, .secret_key = secret, .session_token = token};
        AUTO(mem_free) char *url = mem_format("https://example.amazonaws.com:443%s", v->target);
        HttpRequest request = {.method = v->method, .url = url, .headers = v->headers};
        while (v->headers[request.header_count].name)
            request.header_count++;
        request.body = v->body;
        request.body_bytes = v->body ? strlen(v->body) : 0;
        AwsSigning signing = {&keys, "us-east-1", "service", v->payload_hash,
                              INT64_C(1440938160000000)};
        Got got = {{0}, {0}, {0}, {0}};
        aws_sign(&signing, &request, take, &got);
        AUTO(mem_free)
        char *want = mem_format("AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/"
                                "service/aws4_request, SignedHeaders=%s, Signature=%s",
                                v->signed_headers, v->signature);
        if (strcmp(got.authorization, want) != 0)
            print_error("vector: %s\n", v->name);
        assert_string_equal(got.authorization, want);
        assert_string_equal(got.date, "20150830T123600Z");
        assert_string_equal(got.token, v->token ? v->token : "");
        assert_string_equal(got.hash, v->payload_hash ? v->payload_hash : "");
    }
}

/* From Amazon's documentation of S3's header-based authentication. */
static void s3_takes_the_path_as_sent(void **state)
{
    (void)state;
    char access[] = "AKIAIOSFODNN7EXAMPLE", secret[] = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";
    AwsKeys keys = {.access_key = access, .secret_key = secret};
    HttpHeader headers[] = {{"Date", "Fri, 24 May 2013 00:00:00 GMT"},
                            {"x-amz-storage-class", "REDUCED_REDUNDANCY"}};
    HttpRequest request = {.method = "PUT",
                           .url = "https://examplebucket.s3.amazonaws.com/test%24file.text",
                           .headers = headers,
                           .header_count = 2,
                           .body = "Welcome to Amazon S3.",
                           .body_bytes = 21};
    AwsSigning signing = {&keys, "us-east-1", "s3", NULL, INT64_C(1369353600000000)};
    Got got = {{0}, {0}, {0}, {0}};
    aws_sign(&signing, &request, take, &got);
    assert_non_null(strstr(got.authorization, "Signature=98ad721746da40c64f1a55b78f14c238d841ea13"
                                              "80cd77a1b5971af0ece108bd"));
    assert_string_equal(got.hash,
                        "44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_published_signatures_come_out),
        cmocka_unit_test(s3_takes_the_path_as_sent),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
