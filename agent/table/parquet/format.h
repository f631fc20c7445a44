/* The numbers of parquet.thrift that this folder uses.
 * https://github.com/apache/parquet-format/blob/master/src/main/thrift/parquet.thrift */
#pragma once

#include "common/attrs.h"

/* A file: "PAR1", row groups, bloom filters, column indexes, offset indexes, FileMetaData, its
 * length (4 bytes), "PAR1". */
#define PARQUET_MAGIC "PAR1"
#define PARQUET_MAGIC_BYTES 4

typedef enum Physical {
    PHYSICAL_BOOLEAN = 0,
    PHYSICAL_INT32 = 1,
    PHYSICAL_INT64 = 2,
    PHYSICAL_INT96 = 3,
    PHYSICAL_FLOAT = 4,
    PHYSICAL_DOUBLE = 5,
    PHYSICAL_BYTE_ARRAY = 6,
    PHYSICAL_FIXED = 7, /* FIXED_LEN_BYTE_ARRAY */
} Physical;

typedef enum Converted {
    CONVERTED_UTF8 = 0,
    CONVERTED_MAP = 1,
    CONVERTED_LIST = 3,
    CONVERTED_DECIMAL = 5,
    CONVERTED_DATE = 6,
    CONVERTED_TIME_MILLIS = 7,
    CONVERTED_TIME_MICROS = 8,
    CONVERTED_TIMESTAMP_MILLIS = 9,
    CONVERTED_TIMESTAMP_MICROS = 10,
} Converted;

typedef enum Logical { /* the LogicalType union's field ids */
                       LOGICAL_STRING = 1,
                       LOGICAL_MAP = 2,
                       LOGICAL_LIST = 3,
                       LOGICAL_DECIMAL = 5,
                       LOGICAL_DATE = 6,
                       LOGICAL_TIME = 7,
                       LOGICAL_TIMESTAMP = 8,
                       LOGICAL_UUID = 14,
} Logical;

typedef enum TimeUnit { UNIT_MILLIS = 1, UNIT_MICROS = 2, UNIT_NANOS = 3 } TimeUnit;

typedef enum Repetition {
    REPETITION_REQUIRED = 0,
    REPETITION_OPTIONAL = 1,
    REPETITION_REPEATED = 2,
} Repetition;

typedef enum Encoding {
    ENCODING_PLAIN = 0,
    ENCODING_PLAIN_DICTIONARY = 2, /* old name of RLE_DICTIONARY in data pages, PLAIN in others */
    ENCODING_RLE = 3,
    ENCODING_BIT_PACKED = 4,
    ENCODING_DELTA_BINARY_PACKED = 5,
    ENCODING_DELTA_LENGTH_BYTE_ARRAY = 6,
    ENCODING_DELTA_BYTE_ARRAY = 7,
    ENCODING_RLE_DICTIONARY = 8,
    ENCODING_BYTE_STREAM_SPLIT = 9,
} Encoding;

typedef enum Codec {
    CODEC_UNCOMPRESSED = 0,
    CODEC_SNAPPY = 1,
    CODEC_GZIP = 2,
    CODEC_ZSTD = 6,
} Codec;

typedef enum PageType {
    PAGE_DATA = 0,
    PAGE_INDEX = 1,
    PAGE_DICTIONARY = 2,
    PAGE_DATA_V2 = 3,
} PageType;

typedef enum BoundaryOrder {
    BOUNDARY_UNORDERED = 0,
    BOUNDARY_ASCENDING = 1,
    BOUNDARY_DESCENDING = 2,
} BoundaryOrder;
