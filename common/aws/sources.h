/* Where the chain of credentials.c looks: one function for each kind of place. Each says by *found
 * whether the environment offers it at all; only then its result counts. *ret is filled on true. */
#pragma once

#include "common/aws/aws.h"

typedef struct AwsSource {
    HttpClient *client;
    const char *region;
} AwsSource;
typedef bool AwsLook(const AwsSource *source, bool *found, AwsKeys *ret, Error *err);

AwsLook aws_from_environment, aws_from_web_identity, aws_from_container, aws_from_instance;
