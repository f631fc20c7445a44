/* A lake of its own for each test, declared as TEST(function). */
#pragma once

#include "tests/unit/iceberg/lake.h"

static Lake lake;

static int each_lake_open(void **state)
{
    (void)state;
    lake_open(&lake);
    return 0;
}

static int each_lake_close(void **state)
{
    (void)state;
    lake_close(&lake);
    return 0;
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, each_lake_open, each_lake_close)
