/* The little XML that S3 and STS answer with (expat). No DTD, hence no entities of anybody's own;
 * depth and length of texts are limited. */
#pragma once

#include "common/error.h"

/* Called at the end of every element with the names from the root ("ListBucketResult/Contents/Key",
 * without prefixes) and the text directly inside it. False stops the reading: xml_read returns
 * false with *err as the callback left it. */
typedef bool XmlEach(void *context, const char *path, const char *text);

/* DATA "BadXml" for what is no XML, deeper than 16 elements, a text over 64 KiB, or with a DTD. */
MUST_CHECK bool xml_read(const void *data, size_t bytes, XmlEach *each, void *context, Error *err);
